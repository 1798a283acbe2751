import { expect, test } from 'vitest'
import * as sdk from '../../src/client/ringcast.js'

test('every error has its name, a code for a switch, and says whether to try again', () => {
  const errors = [
    new sdk.TimeoutError('a'),
    new sdk.InvalidPayloadError('b', { cause: 1 }),
    new sdk.PublishError('BAD_REQUEST', false, 'c'),
    new sdk.SubscribeError('LIMIT_EXCEEDED', false, 'd'),
    new sdk.OverloadedError('e'),
    new sdk.HandlerError('f', { cause: new Error('inner') }),
    new sdk.ConnectionClosedError('g', true, 4001),
    new sdk.ProtocolError('h'),
    new sdk.CancelError('TOPIC_NOT_FOUND', false, 'i'),
  ]
  for (const error of errors) expect(error).toBeInstanceOf(sdk.RingcastError)
  expect(errors.map(({ name, code, retryable }) => [name, code, retryable])).toEqual([
    ['TimeoutError', 'TIMEOUT', true],
    ['InvalidPayloadError', 'INVALID_PAYLOAD', false],
    ['PublishError', 'BAD_REQUEST', false],
    ['SubscribeError', 'LIMIT_EXCEEDED', false],
    ['OverloadedError', 'OVERLOADED', true],
    ['HandlerError', 'HANDLER_ERROR', false],
    ['ConnectionClosedError', 'CONNECTION_CLOSED', true],
    ['ProtocolError', 'PROTOCOL_ERROR', false],
    ['CancelError', 'TOPIC_NOT_FOUND', false],
  ])
  expect((errors[6] as sdk.ConnectionClosedError).closeCode).toBe(4001)
})

import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { Attachment, type Subscriber } from '../../src/client/attachment.js'
import { sleep, waitUntil } from './harness.js'

/** An attachment, what it asked of the broker, and a subscriber that can change its mind. */
function start(timeoutMs = 10_000) {
  const asked: string[] = []
  const heard: unknown[] = []
  const host = {
    line: { isOpen: true },
    sendSubscribe: () => void asked.push('subscribe'),
    sendUnsubscribe: () => void asked.push('unsubscribe'),
    forget: () => void asked.push('forget'),
    giveUpRequest: () => void asked.push('give up'),
    abandon: () => void asked.push('abandon'),
    onError: (error: Error) => void heard.push(error.name),
  }
  const attachment = new Attachment(host, 't', timeoutMs)
  onTestFinished(() => attachment.stop())
  const subscriber = (name: string) => ({
    text: 't',
    wantsMessages: true,
    startOptions: () => ({}),
    onAck: () => void heard.push(`${name} ack`),
    onRefused: (error: Error) => {
      heard.push(`${name} ${error.message}`)
      attachment.setSubscriber(undefined)
    },
    onMessage: () => void heard.push(`${name} message`),
    onInfo: () => void heard.push(`${name} info`),
  })
  return { attachment, host, asked, heard, subscriber }
}

const MESSAGE = {} as Parameters<Subscriber['onMessage']>[0]
const refusal = (retryable: boolean) => ({ code: 'X', message: 'no', retryable })

test('Attachment waits for the answer before it asks for the opposite', () => {
  const { attachment, asked, subscriber } = start()
  const one = subscriber('one')
  attachment.setSubscriber(one)
  one.wantsMessages = false
  attachment.update()
  expect(asked).toEqual(['subscribe'])
  one.wantsMessages = true
  attachment.update()
  attachment.onAck({})
  expect(asked).toEqual(['subscribe'])
  one.wantsMessages = false
  attachment.update()
  one.wantsMessages = true
  attachment.update()
  expect(asked).toEqual(['subscribe', 'unsubscribe'])
  attachment.onAck({})
  expect(asked).toEqual(['subscribe', 'unsubscribe', 'subscribe'])
})

test('Attachment never has two requests under way, and ends as it is wanted', () => {
  const step = fc.constantFrom('pause', 'resume', 'answer', 'refuse', 'lose' as const)
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { attachment, asked, subscriber } = start()
      const one = subscriber('one')
      attachment.setSubscriber(one)
      let answered = 0
      let isOn = false
      const answer = () => {
        if (answered === asked.length) return
        isOn = asked[answered] === 'subscribe'
        answered++
        attachment.onAck({})
      }
      for (const what of steps) {
        if (what === 'pause' || what === 'resume') {
          one.wantsMessages = what === 'resume'
          attachment.update()
        } else if (what === 'answer') {
          answer()
        } else if (what === 'refuse' && asked[answered] === 'unsubscribe') {
          isOn = false
          answered++
          attachment.onError(refusal(false))
        } else if (what === 'lose') {
          answered = asked.length
          isOn = false
          attachment.onDisconnected()
          attachment.onConnected()
        }
        expect(asked.length - answered).toBeLessThanOrEqual(1)
      }
      while (answered < asked.length) answer()
      expect(isOn).toBe(one.wantsMessages)
      attachment.stop()
    }),
    { numRuns: 200 },
  )
})

test('Attachment gives what comes to whom it was attached for, until the broker has let go', () => {
  const { attachment, asked, heard, subscriber } = start()
  attachment.setSubscriber(subscriber('one'))
  attachment.onAck({})
  attachment.setSubscriber(undefined)
  attachment.setSubscriber(subscriber('two'))
  attachment.onMessage(MESSAGE, 0, 1)
  expect(asked).toEqual(['subscribe', 'unsubscribe'])
  attachment.onAck({})
  attachment.onAck({})
  attachment.onMessage(MESSAGE, 0, 1)
  expect(heard).toEqual(['one ack', 'one message', 'two ack', 'two message'])
  attachment.setSubscriber(undefined)
  attachment.onAck({})
  expect(asked.slice(3)).toEqual(['unsubscribe', 'forget'])
})

test('Attachment tries again after a refusal that may pass, and gives up after one that will not', async () => {
  const { attachment, asked, heard, subscriber } = start()
  attachment.setSubscriber(subscriber('one'))
  attachment.onError(refusal(true))
  expect(heard).toEqual([])
  attachment.update()
  await waitUntil(() => asked.length === 2)
  attachment.onError(refusal(false))
  expect(asked.slice(0, 3)).toEqual(['subscribe', 'subscribe', 'forget'])
  expect(heard).toEqual(['one no'])
})

test('Attachment asks again when a subscribe is not answered, and gives up the connection after that', async () => {
  const { attachment, asked, heard, subscriber } = start(20)
  attachment.setSubscriber(subscriber('one'))
  await waitUntil(() => asked.length === 4)
  expect(asked).toEqual(['subscribe', 'give up', 'unsubscribe', 'abandon'])
  expect(heard).toEqual(['TimeoutError'])
})

test('Attachment asks nothing without a connection, and asks when there is one', async () => {
  const { attachment, host, asked, subscriber } = start()
  host.line.isOpen = false
  attachment.setSubscriber(subscriber('one'))
  attachment.onDisconnected()
  expect(asked).toEqual([])
  host.line.isOpen = true
  attachment.onConnected()
  expect(asked).toEqual(['subscribe'])
  host.line.isOpen = false
  attachment.onDisconnected()
  attachment.setSubscriber(undefined)
  expect(asked).toEqual(['subscribe', 'forget'])
  await sleep(5)
})

test('Attachment is off once its topic was deleted: there is nothing to unsubscribe from', () => {
  const { attachment, asked, heard, subscriber } = start()
  attachment.setSubscriber(subscriber('one'))
  attachment.onAck({})
  attachment.setSubscriber({ ...subscriber('one'), wantsMessages: false })
  attachment.onAck({})
  expect(asked).toEqual(['subscribe', 'unsubscribe'])
  attachment.setSubscriber(subscriber('two'))
  attachment.onAck({})
  attachment.onInfo({ code: 'TOPIC_DELETED', topic: 't', details: {} })
  expect(heard).toEqual(['one ack', 'two ack', 'two info'])
  expect(asked.slice(2)).toEqual(['subscribe', 'subscribe']) // It still wants it.
})

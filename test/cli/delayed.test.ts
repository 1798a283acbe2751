/** `ringcast delayed` against a real broker. */
import { expect, test } from 'vitest'
import { startBroker } from '../broker/harness.js'
import { jsonLines, runHere } from './harness.js'

const ids = [1, 2, 3].map((digit) => `550e8400-e29b-41d4-a716-44665544000${digit}`)

test('delayed ls shows what waits, the next first; cancel takes it back, and fails for what does not wait', async () => {
  const { httpUrl, http } = await startBroker({ WORKERS: '1' })
  const delayed = (...args: string[]) => runHere(['delayed', ...args, '--url', httpUrl])
  const unknown = await delayed('ls', 'mails')
  expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('TOPIC_NOT_FOUND') })

  const scheduled = await runHere(['pub', 'mails', 'later', '--delay', '2h', '--url', httpUrl])
  expect(scheduled.stdout).toMatch(/^scheduled a message for mails: /)
  const [own] = jsonLines((await delayed('ls', 'mails', '--json')).stdout)
  expect(own).toEqual({ id: expect.any(String), deliver_at: expect.any(String) })
  const id = own?.['id'] as string
  expect(await delayed('cancel', 'mails', id)).toEqual({
    code: 0,
    stdout: `mails: ${id} cancelled\n`,
    stderr: '',
  })
  expect(await delayed('ls', 'mails')).toEqual({
    code: 0,
    stdout: '',
    stderr: 'nothing waits for mails\n',
  })

  const messages = ids.map((each, index) => ({
    id: each,
    payload: index,
    delay_ms: (3 - index) * 3_600_000,
  }))
  await http('POST', '/topics/mails/messages', { messages })
  const list = await delayed('ls', 'mails', '--limit', '2')
  const lines = list.stdout.trimEnd().split('\n')
  expect(lines[0]).toMatch(/^DELIVER AT +ID$/)
  expect(lines.slice(1).map((line) => line.split(/ +/)[1])).toEqual([ids[2], ids[1]])
  expect(list.stderr).toBe('and 1 more\n')

  const again = await delayed('cancel', 'mails', id, ids[0] as string)
  expect(again).toEqual({
    code: 1,
    stdout: `mails: ${ids[0]} cancelled\n`,
    stderr: expect.stringContaining(`not waiting, stored already or never there: ${id}`),
  })
  const json = await delayed('cancel', 'mails', ids[1] as string, '--json')
  expect(jsonLines(json.stdout)).toEqual([{ topic: 'mails', id: ids[1], count: 1 }])
  const refused = await delayed('cancel', 'mails', 'soon')
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('BAD_REQUEST') })
  expect((await http('GET', '/topics/mails/delayed')).body).toMatchObject({ count: 1 })
})

import { availableParallelism } from 'node:os'
import { expect, test } from 'vitest'
import { availableCores } from '../src/cores.js'

function cores(files: Record<string, string>, offered = 64): number {
  return availableCores((path) => files[path], offered)
}

test('availableCores() is what the system offers when there is no cgroup', () => {
  expect(cores({}, 8)).toBe(8)
})

test.each([
  ['200000 100000', 2],
  ['150000 100000', 2],
  ['20000 100000', 1],
  ['max 100000', 64],
  ['garbage', 64],
  ['', 64],
])('availableCores() reads a version 2 quota of «%s» as %i cores', (text, expected) => {
  expect(cores({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': `${text}\n` })).toBe(
    expected,
  )
})

test('availableCores() takes the least quota of the groups around it in version 2', () => {
  expect(
    cores({
      '/proc/self/cgroup': '0::/a/b\n',
      '/sys/fs/cgroup/a/b/cpu.max': 'max 100000',
      '/sys/fs/cgroup/a/cpu.max': '300000 100000',
      '/sys/fs/cgroup/cpu.max': '800000 100000',
    }),
  ).toBe(3)
})

test('availableCores() finds the root when the path is that of the host', () => {
  const files = {
    '/proc/self/cgroup': '0::/docker/123\n',
    '/sys/fs/cgroup/cpu.max': '400000 100000',
  }
  expect(cores(files)).toBe(4)
})

test('availableCores() reads a version 1 quota below any mount name', () => {
  const cgroup = '5:memory:/x\n4:cpu,cpuacct:/x:y\n'
  expect(
    cores({
      '/proc/self/cgroup': cgroup,
      '/sys/fs/cgroup/cpu,cpuacct/x:y/cpu.cfs_quota_us': '250000\n',
      '/sys/fs/cgroup/cpu,cpuacct/x:y/cpu.cfs_period_us': '100000\n',
    }),
  ).toBe(3)
  expect(
    cores({
      '/proc/self/cgroup': cgroup,
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    }),
  ).toBe(64)
})

test('availableCores() never exceeds what the system offers', () => {
  const files = { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '3200000 100000' }
  expect(cores(files, 4)).toBe(4)
})

test('availableCores() reads this machine', () => {
  expect(availableCores()).toBeGreaterThanOrEqual(1)
  expect(availableCores()).toBeLessThanOrEqual(availableParallelism())
})

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

type Package = {
  readonly optionalDependencies?: Record<string, string>
  readonly resolved?: string
}

const { packages } = JSON.parse(
  readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'),
) as { packages: Record<string, Package> }

test('package-lock.json holds the packages of every platform (else run `npm run lock:complete`)', () => {
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !packages[`node_modules/${name}`] && !packages[`${path}/node_modules/${name}`],
    ),
  )
  expect(missing).toEqual([])
})

test('package-lock.json names no registry', () => {
  expect(Object.values(packages).flatMap(({ resolved }) => resolved ?? [])).toEqual([])
})

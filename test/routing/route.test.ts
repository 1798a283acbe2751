import { describe, expect, test } from 'vitest'
import { circleOf, ROUTE_TARGETS_MAX, type Route, routeProblem } from '../../src/routing/route.js'

const route = (name: string, source: string, ...targets: string[]): Route => ({
  name,
  source,
  targets,
})

describe('routeProblem()', () => {
  test.each([
    [route('big-orders', 'orders', 'orders-big')],
    [route('all.of_it', '#', 'copy')],
    [route('x', '$dlq.orders', 'bad.orders')],
  ])('finds none in %j', (rule) => {
    expect(routeProblem(rule)).toBeUndefined()
  })

  test.each([
    [route('', 'a', 'b'), 'name must be'],
    [route('a b', 'a', 'b'), 'name must be'],
    [route('x'.repeat(65), 'a', 'b'), 'name must be'],
    [route('x', 'a..b', 'b'), 'source must not have an empty segment'],
    [route('x', 'a*', 'b'), 'source must have * and # stand alone'],
    [route('x', 'a'), 'targets must be 1 to 16'],
    [
      route('x', 'a', ...Array.from({ length: ROUTE_TARGETS_MAX + 1 }, (_, i) => `t${i}`)),
      '1 to 16',
    ],
    [route('x', 'a', 'b', 'b'), 'targets must not name a topic twice'],
    [route('x', 'a', 'b.*'), 'targets must not contain * or #'],
    [route('x', 'a', '$dlq.a'), 'targets must not begin with $'],
  ])('of %j', (rule, problem) => {
    expect(routeProblem(rule)).toContain(problem)
  })
})

describe('circleOf()', () => {
  test('finds none where there is none', () => {
    const rules = [route('1', 'a', 'b', 'c'), route('2', 'b', 'd'), route('3', 'c', 'd')]
    expect(circleOf(rules, route('4', 'd', 'e'))).toBeUndefined()
    expect(circleOf(rules, route('4', 'x.#', 'a'))).toBeUndefined()
  })

  test.each([
    ['a topic to itself', [], route('1', 'a', 'a'), ['1', '1']],
    ['a pattern to a topic of its own', [], route('1', 'a.*', 'b', 'a.b'), ['1', '1']],
    ['two rules', [route('1', 'a', 'b')], route('2', 'b', 'a'), ['2', '1', '2']],
    [
      'several, by patterns',
      [route('1', 'a.#', 'b.x'), route('2', 'b.*', 'c', 'd'), route('other', 'c', 'e')],
      route('3', 'd', 'a'),
      ['3', '1', '2', '3'],
    ],
    ['everything', [route('1', 'a', 'b')], route('2', '#', 'z'), ['2', '2']],
  ])('%s', (_, rules, rule, circle) => {
    expect(circleOf(rules, rule)).toEqual(circle)
  })

  test('puts a rule in the place of the one of its name', () => {
    const rules = [route('1', 'a', 'b'), route('2', 'b', 'c')]
    expect(circleOf(rules, route('1', 'c', 'a'))).toBeUndefined()
    expect(circleOf(rules, route('1', 'c', 'b'))).toEqual(['1', '2', '1'])
  })

  test('of many rules takes no long time', () => {
    // Every rule leads to every other: ways are countless, rules are not.
    const rules = Array.from({ length: 99 }, (_, index) => route(`${index}`, '*.x', `${index}.x.y`))
    expect(circleOf(rules, route('last', '#.y', 'end.x'))).toEqual(['last', '98', 'last'])
  })
})

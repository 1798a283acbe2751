/**
 * Line charts as SVG text, without a script: axes, grid, lines, legend. Colours are CSS variables of the
 * page (page-style.ts), so that light and dark cost nothing here.
 * Runs on: the benchmark's main process. Owns: nothing.
 */

export interface Series {
  readonly name: string
  /** In the order of x. A value that is not a number leaves a hole. */
  readonly points: readonly (readonly [x: number, y: number])[]
}

export interface Axis {
  readonly label: string
  /** Where ticks stand, ascending, and what they say; the first and last are the ends of the axis. */
  readonly ticks: readonly (readonly [at: number, text: string])[]
  /** What of the distance a value is at, for axes that are not linear. */
  readonly scale?: (value: number) => number
}

export interface Chart {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  readonly series: readonly Series[]
  /** Part of x that is drawn as not measured. */
  readonly shaded?: readonly [from: number, to: number]
  /** Over the whole page. */
  readonly isWide?: true
}

/** About what the page gives a chart, so that its text has the size of the page's. */
const WIDTH = 500
const WIDTH_WIDE = 1030
const HEIGHT = 240
const LEFT = 68
const RIGHT = 26
const TOP = 10
const BOTTOM = 42
/** Colours of the page; further series repeat them. */
const COLOURS = 6

export function svgChart({ title, x, y, series, shaded, isWide }: Chart): string {
  const width = isWide ? WIDTH_WIDE : WIDTH
  const toX = axisMap(x, LEFT, width - RIGHT)
  const toY = axisMap(y, HEIGHT - BOTTOM, TOP)
  const grid = [
    ...y.ticks.map(([at, text]) => {
      const top = toY(at)
      return `<line class="grid" x1="${LEFT}" x2="${width - RIGHT}" y1="${top}" y2="${top}"/><text class="tick" x="${LEFT - 8}" y="${top + 4}" text-anchor="end">${escaped(text)}</text>`
    }),
    ...x.ticks.map(([at, text]) => {
      const left = toX(at)
      return `<line class="grid" x1="${left}" x2="${left}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/><text class="tick" x="${left}" y="${HEIGHT - BOTTOM + 17}" text-anchor="middle">${escaped(text)}</text>`
    }),
  ]
  const shade =
    shaded === undefined || shaded[1] <= shaded[0]
      ? ''
      : `<rect class="shade" x="${toX(shaded[0])}" y="${TOP}" width="${round(toX(shaded[1]) - toX(shaded[0]))}" height="${HEIGHT - BOTTOM - TOP}"/>`
  const lines = series.flatMap(({ points }, i) =>
    runsOf(points).map((run) => {
      const [only] = run
      if (run.length === 1 && only) {
        return `<circle class="dot c${i % COLOURS}" cx="${toX(only[0])}" cy="${toY(only[1])}" r="2.5"/>`
      }
      const path = run.map(([px, py]) => `${toX(px)},${toY(py)}`).join(' ')
      return `<polyline class="line c${i % COLOURS}" points="${path}"/>`
    }),
  )
  const middle = (TOP + HEIGHT - BOTTOM) / 2
  return [
    `<figure><figcaption>${escaped(title)}</figcaption>`,
    legend(series),
    `<svg viewBox="0 0 ${width} ${HEIGHT}" role="img" aria-label="${escaped(title)}">`,
    shade,
    ...grid,
    ...lines,
    `<text class="axis" x="${(LEFT + width - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${escaped(x.label)}</text>`,
    `<text class="axis" x="14" y="${middle}" text-anchor="middle" transform="rotate(-90 14 ${middle})">${escaped(y.label)}</text>`,
    '</svg></figure>',
  ].join('\n')
}

/** An axis from 0 (or `min`) to a round number at or above `max`, with about `count` ticks. */
export function linearAxis(label: string, [min, max]: readonly [number, number], count = 5): Axis {
  const span = Number.isFinite(max) && max > min ? max - min : 1
  const step = niceStep(span / count)
  const ticks: [number, string][] = []
  const digits = Math.max(0, -Math.floor(Math.log10(step)))
  for (let i = Math.floor(min / step); ticks.length === 0 || (i - 1) * step < min + span; i++) {
    ticks.push([i * step, tickText(i * step, digits)])
  }
  return { label, ticks }
}

function tickText(value: number, digits: number): string {
  const isLarge = Math.abs(value) >= 10_000
  return value.toLocaleString('en', {
    maximumFractionDigits: isLarge ? 2 : digits,
    ...(isLarge ? { notation: 'compact' } : {}),
  })
}

export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}

function legend(series: readonly Series[]): string {
  if (series.length < 2) return ''
  const items = series.map(
    ({ name }, i) => `<li><span class="key c${i % COLOURS}"></span>${escaped(name)}</li>`,
  )
  return `<ul class="legend">${items.join('')}</ul>`
}

function axisMap({ ticks, scale = (value) => value }: Axis, from: number, to: number) {
  const [first, last] = [ticks[0]?.[0] ?? 0, ticks.at(-1)?.[0] ?? 1]
  const [low, high] = [scale(first), scale(last)]
  return (value: number) => {
    const inside = Math.min(last, Math.max(first, value))
    return round(from + ((scale(inside) - low) / (high - low || 1)) * (to - from))
  }
}

/** The runs of points between holes. */
function runsOf(points: Series['points']): (readonly [number, number])[][] {
  const runs: (readonly [number, number])[][] = [[]]
  for (const point of points) {
    if (Number.isFinite(point[1])) runs.at(-1)?.push(point)
    else if (runs.at(-1)?.length !== 0) runs.push([])
  }
  return runs.filter(({ length }) => length > 0)
}

/** 1, 2 or 5 times a power of ten, at least this. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least))
  const factor = [1, 2, 5, 10].find((candidate) => candidate * power >= least * 0.999) ?? 10
  return factor * power
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}

/**
 * The comparison as a picture: one group of bars per scenario, on a logarithmic axis, since the
 * figures differ by factors.
 * Runs on: the benchmark's main process. Owns: the drawing; SVG is text, so no library is needed.
 */
import { type Figure, figuresOf, latencyRatio, OURS, rateRatio } from './figures.js'
import { ms, type PeerReport, times, whole } from './report.js'
import type { PeerScenario } from './scenarios.js'

const WIDTH = 860
const LABEL_WIDTH = 220
const VALUE_WIDTH = 230
const BAR_HEIGHT = 16
const ROW_HEIGHT = 22
const HEAD_HEIGHT = 34
const GROUP_GAP = 18
const MARGIN = 20
/** The shortest bar that is there at all. */
const BAR_MIN = 2
/** Decades below the longest bar at which the axis begins. */
const DECADES = 3
const COLOUR_OURS = '#d9480f'
const COLOUR_OTHERS = '#748ffc'

interface Bar {
  readonly label: string
  readonly value: number
  readonly text: string
  readonly isOurs: boolean
}

export function plot({ scenarios, comparisons, machine, runs }: PeerReport): string {
  const parts: string[] = []
  let y = MARGIN + 20
  for (const scenario of scenarios) {
    const bars = figuresOf(comparisons, scenario.name).map((figure, _, figures) =>
      barOf(scenario, figures, figure),
    )
    const hint = scenario.load.kind === 'open' ? ' (shorter is better)' : ''
    parts.push(heading(`${scenario.title}${hint}`, y))
    y += HEAD_HEIGHT
    const longest = Math.max(...bars.map(({ value }) => value || 0), 1)
    for (const bar of bars) {
      parts.push(row(bar, longest, y))
      y += ROW_HEIGHT
    }
    y += GROUP_GAP
  }
  const foot = `${machine.cpu}, ${machine.cores} cores; medians of ${runs} runs; ${machine.startedAt.slice(0, 10)}, commit ${machine.commit}. Logarithmic bars. ×: how far ringcast is ahead.`
  parts.push(text({ x: MARGIN, y: y + 4, size: 11, colour: '#868e96' }, foot))
  const height = y + MARGIN
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="system-ui, sans-serif" role="img">`,
    '<title>ringcast beside its peers</title>',
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n')
}

function barOf({ load }: PeerScenario, figures: readonly Figure[], figure: Figure): Bar {
  const isOurs = figure.system === OURS
  const isLatency = load.kind === 'open'
  const value = isLatency ? figure.p99 : figure.rate
  const ratio = isLatency ? latencyRatio(figures, figure) : rateRatio(figures, figure)
  const label = figure.title.replaceAll('`', '')
  if (figure.leftOut !== undefined) return { label, value: 0, text: 'left out', isOurs }
  const shown = isLatency ? `${ms(value)} ms` : whole(value)
  const factor = isOurs || Number.isNaN(ratio) ? '' : `  ${times(ratio)}`
  const { faulty, rates } = figure
  const short = faulty > 0 ? `  (failed to hold in ${faulty} of ${rates.length})` : ''
  return { label, value, text: `${shown}${factor}${short}`, isOurs }
}

function row({ label, value, text: shown, isOurs }: Bar, longest: number, y: number): string {
  const room = WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH
  const share = value > 0 ? 1 + Math.log10(value / longest) / DECADES : 0
  const width = value > 0 ? Math.max(BAR_MIN, share * room) : 0
  const x = MARGIN + LABEL_WIDTH
  const colour = isOurs ? COLOUR_OURS : COLOUR_OTHERS
  const middle = y + BAR_HEIGHT - 4
  return [
    text({ x: x - 8, y: middle, size: 12, colour: '#343a40', anchor: 'end' }, label),
    `<rect x="${x}" y="${y}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" rx="2" fill="${colour}"/>`,
    text({ x: x + width + 6, y: middle, size: 12, colour: '#343a40' }, shown),
  ].join('\n')
}

function heading(title: string, y: number): string {
  return text({ x: MARGIN, y: y + 12, size: 14, colour: '#212529', weight: 600 }, title)
}

interface TextStyle {
  readonly x: number
  readonly y: number
  readonly size: number
  readonly colour: string
  readonly anchor?: 'end'
  readonly weight?: number
}

function text({ x, y, size, colour, anchor, weight }: TextStyle, content: string): string {
  const more = `${anchor ? ` text-anchor="${anchor}"` : ''}${weight ? ` font-weight="${weight}"` : ''}`
  const at = `x="${x.toFixed(1)}" y="${y.toFixed(1)}"`
  return `<text ${at} font-size="${size}" fill="${colour}"${more}>${escaped(content)}</text>`
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

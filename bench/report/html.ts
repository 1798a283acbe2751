/**
 * The report as one HTML file: no script, nothing from the network, so that it can be kept and sent.
 * Runs on: the benchmark's main process. Owns: nothing.
 */
import type { LoadResult } from '../load/coordinator.js'
import type { LoadPlan } from '../load/plan.js'
import { courseCharts, percentileChart } from './charts.js'
import { countedRuns } from './compare.js'
import { figureOf, figureText, METRICS, type MetricName } from './metrics.js'
import { PAGE_STYLE } from './page-style.js'
import type { ResultsFile, ScenarioRuns, SystemRuns } from './results-file.js'
import { cautions } from './summary.js'
import { escaped, svgChart } from './svg-chart.js'

type Config = Readonly<Record<string, string>>

export function htmlReport(file: ResultsFile): string {
  const { machine } = file
  const brokers = file.results.flatMap(({ systems }) => systems.flatMap(({ runs }) => runs))
  const facts = brokers.find(({ server }) => server.config !== undefined)?.server ?? {}
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>ringcast benchmark, ${escaped(machine.startedAt)}</title>`,
    `<style>${PAGE_STYLE}</style></head><body>`,
    '<h1>ringcast benchmark</h1>',
    `<p class="soft">${escaped(file.results.map(({ scenario }) => scenario.name).join(', '))}</p>`,
    definitions([
      ['started', machine.startedAt],
      ['machine', `${machine.cpu}, ${machine.cores} cores, ${machine.memoryMb} MB`],
      ['kernel', machine.kernel],
      ['Node', facts.node ? `${machine.node}; broker ${facts.node}` : machine.node],
      ['ringcast', facts.version ?? 'unknown'],
      ['commit', machine.commit],
      ['measured', `${file.seconds} s a run`],
    ]),
    ...file.results.map((one) => scenarioSection(one, machine.cores, facts.config)),
    configSection(facts.config),
    '</body></html>',
    '',
  ].join('\n')
}

function scenarioSection(
  { scenario, systems }: ScenarioRuns,
  cores: number,
  base: Config | undefined,
): string {
  const measured = systems.filter(({ runs }) => runs.length > 0)
  const parts = [
    `<h2>${escaped(scenario.name)}</h2>`,
    `<p class="soft">${escaped(planText(scenario.plan))}</p>`,
    ...systems.flatMap((system) => verdicts(system, cores)),
    configDifference(systems, base),
    figuresTable(systems),
  ]
  if (measured.length > 0) {
    const charted = measured.map(({ system, runs }) => ({ system, runs: countedRuns(runs) }))
    parts.push(`<div class="charts">${svgChart(percentileChart(charted))}</div>`)
  }
  for (const { system, runs } of measured) {
    const last = runs.at(-1)
    if (last === undefined) continue
    const which = runs.length > 1 ? `, run ${runs.length} of ${runs.length}` : ''
    parts.push(`<h3>${escaped(system)}${which}: second by second</h3>`)
    if (last.course.length === 0) parts.push('<p class="soft">Shorter than a second.</p>')
    else {
      const charts = courseCharts(last.course).map(svgChart)
      parts.push(`<div class="charts">${charts.join('')}</div>`, '<p class="soft">')
      if (last.course.some(({ second }) => second < 0)) parts.push('Grey: warm-up, not measured. ')
      parts.push('Latency by the time of arrival, to 3 %.</p>')
    }
    parts.push(threadsTable(last))
  }
  return parts.join('\n')
}

function verdicts({ system, runs, failures }: SystemRuns, cores: number): string[] {
  const line = (kind: string, text: string) =>
    `<p class="${kind}">${escaped(system)}: ${escaped(text)}</p>`
  const lines = failures.map((failure) => line('verdict bad', `failed: ${failure}`))
  if (runs.length === 0) return lines
  const total = (read: (run: LoadResult) => number) => runs.reduce((sum, run) => sum + read(run), 0)
  const [lost, announced] = [total((run) => run.lost), total((run) => run.announced)]
  const [repeated, unordered] = [total((run) => run.repeated), total((run) => run.outOfOrder)]
  const isWhole = lost + repeated + unordered === 0
  lines.push(
    isWhole
      ? line('verdict good', 'every message came once and in order')
      : line(
          'verdict bad',
          `${lost} lost (${announced} announced), ${repeated} repeated, ${unordered} out of order`,
        ),
  )
  runs.forEach((run, i) => {
    const which = runs.length === 1 ? '' : `run ${i + 1}: `
    for (const text of cautions(run, cores)) lines.push(line('note', `${which}${text}`))
  })
  return lines
}

const FIGURE_TITLES: Readonly<Record<MetricName, string>> = {
  rate: 'delivered/s',
  p50: 'p50',
  p90: 'p90',
  p95: 'p95',
  p99: 'p99',
  p999: 'p99.9',
  max: 'max',
  lost: 'lost',
  repeated: 'repeated',
}

function figuresTable(systems: readonly SystemRuns[]): string {
  const names = Object.keys(METRICS) as MetricName[]
  const label = (system: string, runs: readonly LoadResult[], i: number) =>
    runs.length === 1 ? system : `${system} ${i + 1}${runs[i]?.voidReason ? ' (void)' : ''}`
  const more: readonly (readonly [string, (run: LoadResult) => string])[] = [
    ['generator late, p99', ({ lagP99Ms }) => ms(lagP99Ms)],
    ['by its own work', ({ ownLagP99Ms }) => ms(ownLagP99Ms)],
    ['CPU server', ({ serverCpu }) => percent(serverCpu)],
    ['publishers', ({ publisherCpu }) => percent(publisherCpu)],
    ['subscribers', ({ subscriberCpu }) => percent(subscriberCpu)],
    ['other', ({ otherCpu }) => percent(otherCpu)],
    ['RSS server', ({ rssMb }) => (Number.isNaN(rssMb) ? '-' : `${Math.round(rssMb)} MB`)],
  ]
  const rows = systems.flatMap(({ system, runs }) => {
    const figures = (some: readonly LoadResult[]) =>
      names.map((name) => figureText(name, figureOf(name, some)))
    const single = runs.map((run, i) => [label(system, runs, i), ...figures([run])])
    if (runs.length < 2) return single
    return [...single, [`${system}, median`, ...figures(countedRuns(runs))]]
  })
  const uses = systems.flatMap(({ system, runs }) =>
    runs.map((run, i) => [label(system, runs, i), ...more.map(([, read]) => read(run))]),
  )
  const figureTitles = names.map((name) => FIGURE_TITLES[name])
  const useTitles = more.map(([title]) => title)
  return `${table(['', ...figureTitles], rows)}${table(['', ...useTitles], uses)}<p class="soft">Late: how far behind its schedule the generator was; it is
in the latencies, which count from when a message was due. CPU 100 % is one core.</p>`
}

function threadsTable({ threads }: LoadResult): string {
  if (threads.length === 0) return ''
  const head = ['thread', 'GC pauses', 'sum', 'longest', 'loop delay, mean', 'p99', 'longest']
  const rows = threads.map((thread) => [
    thread.name,
    String(thread.gcCount),
    ms(thread.gcTotalMs),
    ms(thread.gcMaxMs),
    ms(thread.delayMeanMs),
    ms(thread.delayP99Ms),
    ms(thread.delayMaxMs),
  ])
  return `<h3>Threads</h3>${table(head, rows)}<p class="soft">Over the measured time; p99 of the loop
delay is that of the worst second. Threads of the broker are measured with THREAD_TIMINGS only.</p>`
}

/** What this scenario's broker was told otherwise than the one whose configuration is shown. */
function configDifference(systems: readonly SystemRuns[], base: Config = {}): string {
  const runs = systems.flatMap((system) => system.runs)
  const config = runs.find(({ server }) => server.config !== undefined)?.server.config ?? {}
  const different = Object.entries(config).filter(([name, value]) => base[name] !== value)
  if (different.length === 0) return ''
  const texts = different.map(([name, value]) => `${name}=${value}`)
  return `<p class="soft">broker with <code>${escaped(texts.join(' '))}</code></p>`
}

function configSection(config: Config | undefined): string {
  if (config === undefined) return ''
  const items = Object.entries(config).map(
    ([name, value]) =>
      `<div><span class="soft">${escaped(name)}</span> ${escaped(value || '—')}</div>`,
  )
  return `<h2>Effective configuration</h2><div class="config mono">${items.join('')}</div>`
}

function planText(plan: LoadPlan): string {
  const { encoding, publishers, subscribers, topics, payloadBytes, batch, load } = plan
  const groups = plan.topicGroups ?? 1
  const patterns = plan.patternSubscribers ?? 0
  const pace =
    load.kind === 'closed'
      ? `as fast as possible, window ${load.window} per publisher`
      : `${load.ratePerSecond.toLocaleString('en')} messages/s by schedule` +
        (load.rampMs ? `, reached over ${load.rampMs / 1e3} s` : '')
  return [
    `${publishers} publishers`,
    `${subscribers} subscribers${patterns > 0 ? ` and ${patterns} of patterns` : ''}`,
    `${topics} topics${groups > 1 ? ` in ${groups} groups` : ''}`,
    `${payloadBytes} B`,
    `${batch} a frame`,
    encoding,
    pace,
  ].join(' · ')
}

function definitions(pairs: readonly (readonly [string, string])[]): string {
  const items = pairs.map(([name, text]) => `<dt>${escaped(name)}</dt><dd>${escaped(text)}</dd>`)
  return `<dl>${items.join('')}</dl>`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (tag: 'th' | 'td', cells: readonly string[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`
  const body = rows.map((cells) => line('td', cells)).join('')
  return `<div class="scroll"><table><thead>${line('th', head)}</thead><tbody>${body}</tbody></table></div>`
}

function ms(value: number): string {
  return Number.isNaN(value) ? '-' : `${value.toFixed(2)} ms`
}

function percent(share: number): string {
  return Number.isNaN(share) ? '-' : `${Math.round(share * 100)} %`
}

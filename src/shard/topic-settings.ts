/**
 * What holds for a topic: of each option the value and who says so.
 * Runs on: the shard. Owns: nothing; rules never change while the broker runs.
 *
 * A request (POST /topics) wins over rules, rules over the broker's defaults. Of several rules that
 * match, each option is taken from the most specific one that names it; topic-rules.ts has put them in
 * that order.
 */
import type { Retention } from '../log/topic-log.js'
import { TOPIC_OPTIONS, type TopicOption, type TopicRule } from '../ring/record.js'
import { compilePattern } from '../routing/pattern.js'
import { segmentsOf } from '../routing/topic-name.js'

/** `from` is `default`, `request`, or `rule` and its pattern. */
export interface Setting {
  readonly value: number
  readonly from: string
}

export type TopicSettings = Readonly<Record<TopicOption, Setting>>

export class SettingsTable {
  readonly #rules: readonly {
    readonly rule: TopicRule
    readonly matches: (segments: readonly string[]) => boolean
  }[]
  readonly #defaults: Readonly<Record<TopicOption, number>>

  /** `rules` come most specific first. */
  constructor(rules: readonly TopicRule[], retention: Retention) {
    this.#rules = rules.map((rule) => ({ rule, matches: compilePattern(rule.pattern).matches }))
    this.#defaults = {
      history_size: retention.count,
      history_bytes: retention.bytes,
      max_age_ms: retention.ageMs,
      ttl_ms: 0,
      dedup_window_ms: 0,
      events: 0,
    }
  }

  /** `requested` gives what a request said of option number n. */
  of(topic: string, requested: (index: number) => number | undefined): TopicSettings {
    const segments = segmentsOf(topic)
    const matching = this.#rules.filter(({ matches }) => matches(segments)).map(({ rule }) => rule)
    const settings = TOPIC_OPTIONS.map((name, index): [TopicOption, Setting] => {
      const value = requested(index)
      if (value !== undefined) return [name, { value, from: 'request' }]
      const rule = matching.find(({ options }) => options[name] !== undefined)
      if (rule === undefined) return [name, { value: this.#defaults[name], from: 'default' }]
      return [name, { value: rule.options[name] as number, from: `rule ${rule.pattern}` }]
    })
    return Object.fromEntries(settings) as TopicSettings
  }
}

export function retentionOf(settings: TopicSettings): Retention {
  return {
    count: settings.history_size.value,
    bytes: settings.history_bytes.value,
    ageMs: settings.max_age_ms.value,
  }
}

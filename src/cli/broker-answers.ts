/**
 * What the HTTP door answers, as far as commands read it.
 * Runs on: the command's process.
 */

export interface Health {
  readonly status: string
  readonly uptime_sec: number
  readonly topics: number
  readonly subscribers: number
  readonly connections?: number
  readonly workers?: number
  readonly workers_down?: readonly number[]
}

export interface TopicStats {
  readonly messages: number
  readonly held?: number
  readonly subscribers: number
}

export type Counters = Readonly<Record<string, number>>

export interface Stats {
  readonly topics: Readonly<Record<string, TopicStats>>
  readonly connections: number
  readonly subscribers: number
  readonly lagging: number
  readonly gateway: Counters
  readonly workers: readonly Counters[]
}

export interface SubscriptionInfo {
  readonly client_id: string | null
  readonly subscription: string
  readonly policy: string
  readonly lag: number
}

export interface TopicInfo {
  readonly name: string
  readonly subscriptions?: readonly SubscriptionInfo[]
  readonly [field: string]: unknown
}

export interface HistoryPage {
  readonly topic: string
  readonly epoch: string
  readonly messages: readonly {
    readonly seq: number
    readonly ts: string
    readonly id: string
    readonly payload: unknown
    readonly headers?: Readonly<Record<string, string>>
    readonly encoding?: 'base64'
  }[]
  readonly next_seq: number
}

export interface GroupSummary {
  readonly name: string
  readonly members: number
  readonly paused: boolean
  readonly ack_floor: number
  readonly next_seq: number
  readonly lag: number
  readonly outstanding: number
}

export interface GroupList {
  readonly groups: readonly GroupSummary[]
}

export interface GroupInfo extends Partial<GroupSummary> {
  readonly status?: string
  readonly topic?: string
  readonly group?: string
  readonly options?: Readonly<Record<string, unknown>>
  readonly member_list?: readonly {
    readonly client_id: string | null
    readonly in_flight: number
    readonly max_in_flight: number
    readonly paused: boolean
  }[]
}

export interface DelayedList {
  /** All that wait; `delayed` may be fewer. */
  readonly count: number
  readonly delayed: readonly { readonly id: string; readonly deliver_at: string }[]
}

export interface Cancelled {
  readonly count: number
}

export interface DeadLetter {
  readonly seq: number
  readonly ts: string
  readonly id: string
  readonly payload: unknown
  readonly headers: Readonly<Record<string, string>>
  readonly encoding?: 'base64'
}

export interface DeadLetterPage {
  readonly dead_letters: readonly DeadLetter[]
  readonly next_seq: number | null
}

export interface Replayed {
  readonly replayed: number
  readonly skipped: number
  readonly next_seq: number | null
}

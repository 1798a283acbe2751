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

/** Why a process does not serve clients now: what `/readyz`, the admin API and its page tell. */
export interface Unready {
  /**
   * starting: the process reads what was committed before. draining: it stops. nats: it is not
   * connected. stream: it is connected, but the stream takes no steps or is not followed.
   */
  readonly why: 'starting' | 'draining' | 'postgres' | 'nats' | 'stream' | 'workers';
  readonly text: string;
  /** What NATS or JetStream answered, if anything. It is part of the text. */
  readonly fault?: string;
}

/**
 * The members of this process: clients that appear in channels. A member with several connections
 * joins once and leaves once. It leaves a while after its last connection ended, so that reloading
 * a page does not make it leave.
 */
import type { Member } from '../access/access.ts';
import { type Clock, noTimer } from '../clock.ts';

export interface AttendanceOptions {
  readonly clock: Pick<Clock, 'after'>;
  /** How long a member stays after its last connection ended, in ms. */
  readonly graceMs: number;
  readonly roster: {
    set(channel: string, member: Member): void;
    delete(channel: string, id: string): void;
  };
}

/** One client's appearance as a member of a channel, from `enter` to `leave`. */
export interface Stay {
  readonly channel: string;
  readonly id: string;
}

interface Present {
  /** Number of connections that appear as the member. */
  count: number;
  cancelLeave: () => void;
}

export class Attendance {
  readonly #options: AttendanceOptions;
  readonly #channels = new Map<string, Map<string, Present>>();

  constructor(options: AttendanceOptions) {
    this.#options = options;
  }

  enter(channel: string, member: Member): Stay {
    let members = this.#channels.get(channel);
    if (members === undefined) {
      members = new Map();
      this.#channels.set(channel, members);
    }
    let present = members.get(member.id);
    if (present === undefined) {
      present = { count: 0, cancelLeave: noTimer };
      members.set(member.id, present);
    }
    present.count++;
    present.cancelLeave();
    present.cancelLeave = noTimer;
    this.#options.roster.set(channel, member);
    return { channel, id: member.id };
  }

  /** Ends a stay. `isAtOnce`: the client may not appear any more, so the member leaves at once. */
  leave({ channel, id }: Stay, isAtOnce = false): void {
    const { clock, graceMs } = this.#options;
    const present = this.#channels.get(channel)?.get(id);
    if (present === undefined || --present.count > 0) return;
    if (isAtOnce || graceMs === 0) this.#forget(channel, id);
    else present.cancelLeave = clock.after(graceMs, () => this.#forget(channel, id));
  }

  #forget(channel: string, id: string): void {
    const members = this.#channels.get(channel);
    members?.delete(id);
    if (members?.size === 0) this.#channels.delete(channel);
    this.#options.roster.delete(channel, id);
  }
}

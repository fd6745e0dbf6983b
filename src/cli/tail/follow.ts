/**
 * Follows one channel and writes its frames unchanged, one per line. The client library reconnects
 * and resumes; the tap reads the frames.
 */
import { connect } from '../../client/index.ts';
import { errorOf, mayPass } from './endings.ts';
import { Tap, type TapOptions } from './tap.ts';

export interface FollowOptions extends Pick<TapOptions, 'tls' | 'snapshot' | 'write'> {
  readonly url: string;
  readonly channel: string;
  readonly since: string | undefined;
  /** Called for each connection, and before the token expires. */
  token(): Promise<string | undefined>;
  warn(message: string): void;
}

/** Follows until `signal` aborts. Rejects with a SnoError if retrying cannot help. */
export async function follow(options: FollowOptions, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  let end: (fault?: Error) => void = () => {};
  const ended = new Promise<Error | undefined>((resolve) => {
    end = resolve;
  });
  signal.addEventListener('abort', () => end(), { once: true });

  let written: Promise<void> = Promise.resolve();
  const tapOptions: TapOptions = {
    ...options,
    write(line) {
      written = written.then(() => options.write(line));
      written.catch(end);
      return written;
    },
    wasJoined: () => channel.status !== 'connecting' && channel.status !== 'syncing',
    end,
  };
  /** The tap of the last connection, which knows why it ended. */
  let tap: Tap | undefined;
  class OwnTap extends Tap {
    constructor(url: string) {
      super(url, tapOptions);
      tap = this;
    }
  }
  const client = connect(options.url, {
    WebSocket: OwnTap,
    token: () =>
      options.token().catch((error: Error) => {
        end(error);
        throw error;
      }),
  });
  const channel = client.channel(options.channel, { since: options.since });
  client.on('status', ({ status, error }) => {
    if (error === undefined || (status !== 'waiting' && status !== 'closed')) return;
    const why = errorOf(error, tap?.why);
    if (status === 'waiting' && mayPass(error.code, tapOptions.wasJoined()))
      options.warn(`${why.message}; trying again`);
    else end(why);
  });

  const fault = await ended;
  await client.close();
  await written;
  if (fault !== undefined) throw fault;
}

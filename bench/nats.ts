/** A nats-server with JetStream, for one benchmark. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Child, delay, start, versionOf } from './processes.ts';
import { freePort } from './world.ts';

export interface Nats {
  /** Name and version. */
  readonly version: string;
  readonly child: Child;
  readonly url: string;
  /** Bytes of the stream. */
  size(): Promise<number>;
  end(): Promise<void>;
}

export async function startNats(): Promise<Nats> {
  const version = versionOf('nats-server');
  if (version === undefined) throw new Error('nats-server is not on the PATH');
  const folder = await mkdtemp(join(tmpdir(), 'sno-bench-nats-'));
  const [port, monitor] = [await freePort(), await freePort()];
  const config = join(folder, 'nats.conf');
  const jetstream = { store_dir: join(folder, 'store'), max_file_store: 32e9 };
  await writeFile(config, JSON.stringify({ listen: `127.0.0.1:${port}`, http: `127.0.0.1:${monitor}`, jetstream }));
  const child = start('nats-server', ['--config', config, '--log', join(folder, 'log')]);
  const page = async () => (await (await fetch(`http://127.0.0.1:${monitor}/jsz`)).json()) as { bytes: number };
  let isEnded = false;
  void child.ended().then(() => {
    isEnded = true;
  });
  const answers = () =>
    page().then(
      () => true,
      () => false,
    );
  while (!(await answers())) {
    if (isEnded) throw new Error('nats-server ended');
    await delay(50);
  }
  return {
    version,
    child,
    url: `nats://127.0.0.1:${port}`,
    size: async () => (await page()).bytes,
    async end() {
      await child.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * The measured constants that the arithmetic of docs/scale.md starts from. Each is a figure of a
 * benchmark, as its JSON in docs/performance has it.
 */
import { readFileSync } from 'node:fs';
import type { Figure } from '../figures.ts';

interface Source {
  /** What the constant is, in words. */
  readonly what: string;
  readonly unit: string;
  /** The benchmark, and the figure in its table. */
  readonly bench: string;
  readonly of: string;
  readonly figure: string;
  readonly convert?: (figure: number) => number;
}

const MICROS = 1e6;
/** Clients of the storm in the benchmark of connections. */
const STORM = 5_000;

export const ONE_PROCESS = 'Snö, one process';
export const MAIN = 'Snö, main of 2 workers';
export const WORKER = 'Snö, one of 2 workers';
export const INGEST = 'Snö, ingest';
export const GATEWAY = 'Snö, gateway';
export const BROKER = 'nats-server';
export const A_COMMIT = 'µs of CPU a commit';
export const A_COMMIT_MORE = 'µs of CPU a commit for a further gateway';
export const STREAM_BYTES = 'bytes of the stream a commit';
export const START_SECONDS = 'seconds until a gateway serves';

const SOURCES = {
  write: {
    what: 'one event, written to one socket by itself',
    unit: 'µs of CPU',
    bench: 'paced',
    of: 'Snö',
    figure: 'deliveries per CPU-second',
    convert: (rate) => MICROS / rate,
  },
  joined: {
    what: 'one event, written to one socket together with many others',
    unit: 'µs of CPU',
    bench: 'fanout',
    of: 'Snö',
    figure: 'deliveries per CPU-second',
    convert: (rate) => MICROS / rate,
  },
  login: {
    what: 'one client that comes back: TLS, token, access, subscription',
    unit: 'ms of CPU',
    bench: 'connections',
    of: 'Snö',
    figure: 'CPU-seconds of the server until then',
    convert: (seconds) => (seconds * 1_000) / STORM,
  },
  connection: {
    what: 'one idle connection',
    unit: 'KiB',
    bench: 'connections',
    of: 'Snö',
    figure: 'KiB a connection',
  },
  row: { what: 'one row of a large commit', unit: 'µs of CPU', bench: 'ingest', of: 'Snö', figure: 'µs of CPU a row' },
  commit: {
    what: 'one small commit, in one process',
    unit: 'µs of CPU',
    bench: 'scale',
    of: ONE_PROCESS,
    figure: A_COMMIT,
  },
  main: {
    what: 'one small commit, in the first process with workers',
    unit: 'µs of CPU',
    bench: 'scale',
    of: MAIN,
    figure: A_COMMIT,
  },
  worker: {
    what: 'one small commit that none of its clients gets, in a worker',
    unit: 'µs of CPU',
    bench: 'scale',
    of: WORKER,
    figure: A_COMMIT,
  },
  publish: {
    what: 'one small commit, in the ingest that publishes it',
    unit: 'µs of CPU',
    bench: 'scale',
    of: INGEST,
    figure: A_COMMIT,
  },
  receive: {
    what: 'one small commit that none of its clients gets, in a gateway',
    unit: 'µs of CPU',
    bench: 'scale',
    of: GATEWAY,
    figure: A_COMMIT,
  },
  broker: {
    what: 'one small commit, in nats-server with one gateway',
    unit: 'µs of CPU',
    bench: 'scale',
    of: BROKER,
    figure: A_COMMIT,
  },
  brokerMore: {
    what: 'the same, for each further gateway',
    unit: 'µs of CPU',
    bench: 'scale',
    of: BROKER,
    figure: A_COMMIT_MORE,
  },
  stream: { what: 'one small commit, in the stream', unit: 'bytes', bench: 'scale', of: BROKER, figure: STREAM_BYTES },
  start: { what: 'the start of a gateway', unit: 'seconds', bench: 'scale', of: GATEWAY, figure: START_SECONDS },
} as const satisfies Readonly<Record<string, Source>>;

export type Constants = Readonly<Record<keyof typeof SOURCES, number>>;

const FOLDER = 'docs/performance';

/** Reads the constants. `given`: figures of benchmarks that were measured just now. */
export function readConstants(given: Readonly<Record<string, readonly Figure[]>> = {}): Constants {
  const figuresOf = (bench: string): readonly Figure[] => {
    const text = readFileSync(`${FOLDER}/${bench}.json`, 'utf8');
    return (JSON.parse(text) as { readonly figures: readonly Figure[] }).figures;
  };
  const read = ({ bench, of, figure, convert }: Source): number => {
    const found = (given[bench] ?? figuresOf(bench)).find((each) => each.of === of && each.unit === figure);
    if (found === undefined) throw new Error(`docs/performance/${bench}.json has no '${figure}' of ${of}`);
    return convert === undefined ? found.median : convert(found.median);
  };
  return Object.fromEntries(
    Object.entries(SOURCES).map(([name, source]) => [name, read(source)]),
  ) as unknown as Constants;
}

/** The constants as a table. */
export function constantsTable(constants: Constants): string {
  const rows = Object.entries(SOURCES).map(
    ([name, { what, unit, bench }]) =>
      `| \`${name}\` | ${what} | ${short(constants[name as keyof Constants])} ${unit} | ${bench} |`,
  );
  return ['| | what | costs | benchmark |', '|---|---|---|---|', ...rows].join('\n');
}

/** Three digits. */
export const short = (value: number): string =>
  value.toLocaleString('en', { maximumSignificantDigits: value >= 1_000 ? 4 : 3 });

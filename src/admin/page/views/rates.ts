/** The live rates: one chart each, and the same numbers as a table. */
import type { RateSample, Rates } from '../../api/types.ts';
import { changed } from '../dom/drawing.ts';
import { type Child, element } from '../dom/element.ts';
import { bytes, bytesPerSecond, clock, count, latency, short } from '../format.ts';
import { chart, type Line, type Span } from '../parts/chart.ts';
import { empty, table } from '../parts/parts.ts';

const WINDOW_MS = 5 * 60_000;
/** The charts show this much at least, in ms: before that, their left part is empty. */
const WINDOW_MIN_MS = 60_000;

type Value = (sample: RateSample) => number | null | undefined;

interface Measure {
  readonly title: string;
  readonly lines: readonly { readonly name?: string; readonly value: Value }[];
  readonly format: (value: number | undefined) => string;
  readonly isBytes?: boolean;
}

const perSecond = (value: number | undefined) => (value === undefined ? '–' : `${short(value)}/s`);

const MEASURES: readonly Measure[] = [
  { title: 'Commits', lines: [{ value: ({ commits }) => commits }], format: perSecond },
  { title: 'Rows read', lines: [{ value: ({ rows }) => rows }], format: perSecond },
  { title: 'Events', lines: [{ value: ({ events }) => events }], format: perSecond },
  { title: 'Deliveries', lines: [{ value: ({ deliveries }) => deliveries }], format: perSecond },
  { title: 'Bytes sent', lines: [{ value: ({ sentBytes }) => sentBytes }], format: bytesPerSecond, isBytes: true },
  {
    title: 'Commit to send',
    lines: [
      { name: 'p50', value: ({ commitToSend }) => commitToSend?.p50Seconds },
      { name: 'p99', value: ({ commitToSend }) => commitToSend?.p99Seconds },
    ],
    format: latency,
  },
  { title: 'Connections', lines: [{ value: ({ connections }) => connections }], format: count },
  { title: 'Subscriptions', lines: [{ value: ({ subscriptions }) => subscriptions }], format: count },
  { title: 'WAL not read yet', lines: [{ value: ({ walLagBytes }) => walLagBytes }], format: bytes, isBytes: true },
  { title: 'Waiting in sockets', lines: [{ value: ({ waitingBytes }) => waitingBytes }], format: bytes, isBytes: true },
  { title: 'Errors to clients', lines: [{ value: ({ denials }) => denials }], format: perSecond },
  { title: 'Resets', lines: [{ value: ({ resets }) => resets }], format: perSecond },
];

/** Adds new samples to those that are known, and drops those that are too old. */
export function withSamples(known: Rates | undefined, answer: Rates): Rates {
  const last = known?.samples.at(-1)?.at ?? 0;
  const samples = [...(known?.samples ?? []), ...answer.samples.filter(({ at }) => at > last)];
  const newest = samples.at(-1)?.at ?? 0;
  return { ...answer, samples: samples.filter(({ at }) => at > newest - WINDOW_MS) };
}

export class RatesPanel {
  /** Time that the reader points at, of all charts. */
  #pointedAt: number | undefined;

  draw({ samples, intervalSeconds }: Rates): readonly Child[] {
    const newest = samples.at(-1);
    if (newest === undefined) return [empty('Measuring. The first numbers come in a few seconds.')];
    const times = samples.map(({ at }) => at);
    const span: Span = {
      from: Math.min(newest.at - WINDOW_MIN_MS, times[0] ?? newest.at),
      to: newest.at,
      times,
      holeMs: intervalSeconds * 2_500,
    };
    const found = this.#pointedAt === undefined ? -1 : times.indexOf(this.#pointedAt);
    const cursor = found < 0 ? undefined : found;
    const point = (index: number | undefined) => {
      this.#pointedAt = index === undefined ? undefined : times[index];
      changed();
    };
    const charts = MEASURES.map(({ title, lines, format, isBytes = false }) =>
      chart({ title, span, lines: lines.map((line) => lineOf(line, samples)), format, isBytes, cursor, point }),
    );
    return [
      element('div', { class: 'charts' }, ...charts),
      element(
        'p',
        { class: 'axis', 'aria-hidden': 'true' },
        element('span', {}, clock(span.from)),
        cursor === undefined ? undefined : element('strong', {}, clock(times[cursor] ?? span.to)),
        element('span', {}, clock(span.to)),
      ),
      element('details', { class: 'numbers' }, element('summary', {}, 'The same as a table'), summaries(samples)),
    ];
  }
}

function lineOf({ name, value }: Measure['lines'][number], samples: readonly RateSample[]): Line {
  const values = samples.map((sample) => value(sample) ?? undefined);
  return name === undefined ? { values } : { values, name };
}

function summaries(samples: readonly RateSample[]): HTMLElement {
  const rows = MEASURES.flatMap(({ title, lines, format }) =>
    lines.map(({ name, value }) => {
      const values = samples.map(value).filter((each) => each !== null && each !== undefined);
      const sum = values.reduce((total, each) => total + each, 0);
      return {
        title: name === undefined ? title : `${title}, ${name}`,
        now: format(samples.map((sample) => value(sample) ?? undefined).at(-1)),
        lowest: values.length === 0 ? '–' : format(Math.min(...values)),
        mean: values.length === 0 ? '–' : format(sum / values.length),
        highest: values.length === 0 ? '–' : format(Math.max(...values)),
      };
    }),
  );
  return table({
    caption: 'Rates of the last five minutes',
    columns: [
      { title: 'Measure', cell: ({ title }) => title },
      { title: 'Now', cell: ({ now }) => now, isNumber: true },
      { title: 'Lowest', cell: ({ lowest }) => lowest, isNumber: true },
      { title: 'Average', cell: ({ mean }) => mean, isNumber: true },
      { title: 'Highest', cell: ({ highest }) => highest, isNumber: true },
    ],
    rows,
    keyOf: ({ title }) => title,
    empty: '',
  });
}

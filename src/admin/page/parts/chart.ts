/** Small charts over time, as SVG. All charts of a panel share one cursor. */
import { element, svgElement } from '../dom/element.ts';

export interface Line {
  /** One value for each time of the span. Undefined: nothing was measured. */
  readonly values: readonly (number | undefined)[];
  /** The line's name, if there are two. */
  readonly name?: string;
}

/** The stretch of time that charts show, in ms. */
export interface Span {
  readonly from: number;
  readonly to: number;
  /** When the values were measured, oldest first. */
  readonly times: readonly number[];
  /** A longer pause between two times is a gap in the line. */
  readonly holeMs: number;
}

export interface Chart {
  readonly title: string;
  readonly span: Span;
  readonly lines: readonly Line[];
  readonly format: (value: number | undefined) => string;
  /** Whether the values are bytes: then the upper edge is a round number of kB or MB. */
  readonly isBytes?: boolean;
  /** Index of the time that the reader points at. Undefined: the newest. */
  readonly cursor: number | undefined;
  readonly point: (index: number | undefined) => void;
}

const WIDTH = 240;
const HEIGHT = 60;
const HEADROOM = 1.1;

export function chart({ title, span, lines, format, isBytes = false, cursor, point }: Chart): HTMLElement {
  const { times, from, to } = span;
  const values = lines.flatMap((line) => line.values);
  const top = roundUp(Math.max(0, ...values.map((value) => value ?? 0)), isBytes);
  const at = cursor ?? times.length - 1;
  const onpointermove = (event: Event) => {
    const { left, width } = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const time = from + (((event as PointerEvent).clientX - left) / width) * (to - from);
    point(nearest(times, time));
  };
  return element(
    'figure',
    { class: 'chart', 'data-key': title },
    element(
      'figcaption',
      {},
      element('p', {}, title),
      element(
        'p',
        { class: 'values' },
        ...lines.map(({ values, name }, index) =>
          element(
            'strong',
            { class: index > 0 && 'second' },
            name !== undefined && element('small', {}, `${name} `),
            format(values[at]),
          ),
        ),
      ),
    ),
    element(
      'div',
      { class: 'plot', 'aria-hidden': 'true', onpointermove, onpointerleave: () => point(undefined) },
      drawing(span, lines, top, cursor),
      element('span', { class: 'top' }, format(top)),
    ),
  );
}

function drawing({ from, to, times, holeMs }: Span, lines: readonly Line[], top: number, cursor: number | undefined) {
  const x = (index: number) => ((((times[index] ?? to) - from) / (to - from)) * WIDTH).toFixed(1);
  const y = (value: number) => (HEIGHT - (value / top) * HEIGHT).toFixed(1);
  const paths = lines.flatMap(({ values }, index) => {
    const runs = runsOf(values, times, holeMs);
    const strokes = runs.map((run) => run.map(([at, value]) => `${x(at)} ${y(value)}`).join('L'));
    const areas = runs.map(
      (run, number) => `M${x(run[0]?.[0] ?? 0)} ${HEIGHT}L${strokes[number]}L${x(run.at(-1)?.[0] ?? 0)} ${HEIGHT}Z`,
    );
    const stroke = svgElement('path', { class: index > 0 && 'second', d: strokes.map((run) => `M${run}`).join('') });
    return index > 0 ? [stroke] : [svgElement('path', { class: 'area', d: areas.join('') }), stroke];
  });
  const mark = cursor !== undefined && svgElement('path', { class: 'cursor', d: `M${x(cursor)} 0V${HEIGHT}` });
  return svgElement('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none' }, mark, ...paths);
}

type Run = (readonly [index: number, value: number])[];

/** Returns the parts of a line between gaps. */
function runsOf(values: Line['values'], times: readonly number[], holeMs: number): readonly Run[] {
  const runs: Run[] = [];
  let previous: number | undefined;
  for (const [index, value] of values.entries()) {
    if (value === undefined) continue;
    const isJoined = previous !== undefined && (times[index] ?? 0) - (times[previous] ?? 0) <= holeMs;
    if (!isJoined) runs.push([]);
    runs.at(-1)?.push([index, value]);
    previous = index;
  }
  return runs;
}

function nearest(times: readonly number[], time: number): number | undefined {
  let best: number | undefined;
  for (const [index, at] of times.entries())
    if (best === undefined || Math.abs(at - time) < Math.abs((times[best] ?? 0) - time)) best = index;
  return best;
}

/**
 * The upper edge of a chart: 1, 2 or 5 times a power of ten (of kB, MB, ...). A line does not touch
 * it.
 */
function roundUp(highest: number, isBytes: boolean): number {
  if (highest <= 0) return 1;
  const value = highest * HEADROOM;
  const unit = isBytes ? 1024 ** Math.max(0, Math.floor(Math.log(value) / Math.log(1024))) : 1;
  const power = unit * 10 ** Math.floor(Math.log10(value / unit));
  return ([1, 2, 5].find((step) => value <= step * power) ?? 10) * power;
}

/**
 * The price ticker. This page remembers earlier prices: Snö sends only changes.
 */
import { byId, element, svgElement } from './element.ts';
import { glow } from './motion.ts';
import type { Price } from './rows.ts';

const POINTS_MAX = 48;
const WIDTH = 96;
const HEIGHT = 26;

interface Line {
  readonly row: HTMLTableRowElement;
  readonly name: HTMLElement;
  readonly price: HTMLElement;
  readonly change: HTMLElement;
  readonly course: SVGPathElement;
  readonly points: number[];
  shown: Price | undefined;
}

export class Market {
  readonly #body = byId<HTMLTableElement>('market').tBodies[0] as HTMLTableSectionElement;
  readonly #lines = new Map<string, Line>();

  show(prices: readonly Price[]): void {
    const now = new Set(prices.map(({ symbol }) => symbol));
    for (const [symbol, { row }] of this.#lines) {
      if (now.has(symbol)) continue;
      row.remove();
      this.#lines.delete(symbol);
    }
    for (const [index, price] of prices.toSorted((a, b) => (a.symbol < b.symbol ? -1 : 1)).entries()) {
      const line = this.#lines.get(price.symbol) ?? this.#add(price);
      if (this.#body.children[index] !== line.row)
        this.#body.insertBefore(line.row, this.#body.children[index] ?? null);
      if (line.shown !== price) draw(line, price);
    }
  }

  #add(price: Price): Line {
    const line: Line = {
      row: element('tr', { 'data-symbol': price.symbol }),
      name: element('span', { class: 'full' }),
      price: element('td', { class: 'price' }),
      change: element('td', { class: 'change' }),
      course: svgElement('path'),
      points: [Number(price.open)],
      shown: undefined,
    };
    const drawing = svgElement('svg', {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      'aria-hidden': 'true',
      preserveAspectRatio: 'none',
    });
    drawing.append(line.course);
    const course = element('td', { class: 'course' });
    course.append(drawing);
    line.row.append(
      element('th', { scope: 'row' }, element('b', {}, price.symbol), ' ', line.name),
      course,
      line.price,
      line.change,
    );
    this.#lines.set(price.symbol, line);
    return line;
  }
}

function draw(line: Line, price: Price): void {
  const [value, open] = [Number(price.price), Number(price.open)];
  const before = line.shown === undefined ? value : Number(line.shown.price);
  line.shown = price;
  line.points.push(value);
  if (line.points.length > POINTS_MAX) line.points.shift();
  line.name.textContent = price.name;
  line.price.textContent = value.toLocaleString('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const percent = (value / open - 1) * 100;
  const direction = percent > 0 ? 'up' : percent < 0 ? 'down' : 'even';
  // Never by colour alone: the triangle and the sign say it too.
  line.change.textContent =
    `${{ up: '▲', down: '▼', even: '' }[direction]} ${percent > 0 ? '+' : ''}${percent.toFixed(2)} %`.trim();
  line.row.dataset['direction'] = direction;
  line.course.setAttribute('d', courseOf(line.points));
  if (value !== before) glow(line.price, value > before ? 'up' : 'down');
}

function courseOf(points: readonly number[]): string {
  const [low, high] = [Math.min(...points), Math.max(...points)];
  const x = (index: number) => (index / Math.max(1, points.length - 1)) * WIDTH;
  const y = (value: number) => (high === low ? HEIGHT / 2 : HEIGHT - 3 - ((value - low) / (high - low)) * (HEIGHT - 6));
  return points
    .map((value, index) => `${index === 0 ? 'M' : 'L'}${x(index).toFixed(1)} ${y(value).toFixed(1)}`)
    .join('');
}

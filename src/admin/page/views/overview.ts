import type { Rates, Slot } from '../../api/types.ts';
import type { Child } from '../dom/element.ts';
import { panel, withData } from '../parts/parts.ts';
import type { Polls, Source } from '../poll.ts';
import type { View } from '../view.ts';
import { RatesPanel, withSamples } from './rates.ts';
import { slotPanel } from './slot.ts';

const RATES: Source<Rates> = {
  key: 'rates',
  everyMs: 2_000,
  path: (known) => `api/rates?after=${known?.samples.at(-1)?.at ?? 0}`,
  merge: withSamples,
};
const SLOT: Source<Slot> = { key: 'slot', everyMs: 5_000, path: () => 'api/slot' };

export class OverviewView implements View {
  readonly id = 'overview';
  readonly title = 'Overview';
  readonly #polls: Polls;
  readonly #rates = new RatesPanel();

  constructor(polls: Polls) {
    this.#polls = polls;
  }

  sources(): readonly Source<unknown>[] {
    return [RATES, SLOT];
  }

  draw(): readonly Child[] {
    return [
      panel(
        { id: 'rates', title: 'Live rates', note: 'The last five minutes. Averages of a few seconds each.' },
        ...withData(this.#polls.get(RATES), (rates) => this.#rates.draw(rates)),
      ),
      panel(
        { id: 'slot', title: 'Replication slot', note: 'What Postgres keeps for Snö.' },
        ...withData(this.#polls.get(SLOT), slotPanel),
      ),
    ];
  }
}

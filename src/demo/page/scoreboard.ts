/** The score of a match, from two channels: the match, and its goals. */
import { byId, element } from './element.ts';
import { glow } from './motion.ts';
import type { Goal, Match, Team } from './rows.ts';

const GOALS_SHOWN = 4;
const PERIODS = 3;
const PERIOD_SECONDS = 1_200;

export class Scoreboard {
  readonly #sides = { home: new Side('home'), away: new Side('away') };
  readonly #between = element('span', { class: 'between', 'aria-hidden': 'true' }, '–');
  readonly #periods = Array.from({ length: PERIODS }, () => element('i'));
  #shown: Match | undefined;

  constructor() {
    byId('scoreboard').append(this.#sides.home.root, this.#between, this.#sides.away.root);
    byId('match-periods').append(...this.#periods.map((bar) => element('span', {}, bar)));
  }

  showMatch(match: Match | undefined): void {
    if (match === undefined) return;
    const before = this.#shown;
    this.#shown = match;
    byId('match-clock').textContent =
      match.status === 'final' ? 'Final' : `Period ${periodOf(match.clock_seconds)} · ${clock(match.clock_seconds)}`;
    byId('match-clock').dataset['status'] = match.status;
    for (const [index, bar] of this.#periods.entries()) {
      const played = Math.max(0, Math.min(1, match.clock_seconds / PERIOD_SECONDS - index));
      bar.style.width = `${played * 100}%`;
    }
    this.#sides.home.show(match.home, match.home_score);
    this.#sides.away.show(match.away, match.away_score);
    if (before === undefined) return;
    const scored =
      match.home_score > before.home_score ? 'home' : match.away_score > before.away_score ? 'away' : undefined;
    if (scored !== undefined) {
      this.#sides[scored].celebrate();
      byId('match-news').textContent =
        `Goal for ${match[scored]}: ${match.home} ${match.home_score}, ${match.away} ${match.away_score}`;
    } else if (match.status === 'final' && before.status === 'live') {
      byId('match-news').textContent = `Final: ${match.home} ${match.home_score}, ${match.away} ${match.away_score}`;
    }
  }

  showGoals(goals: readonly Goal[]): void {
    for (const team of ['home', 'away'] as const) {
      const own = goals
        .filter((goal) => goal.team === team)
        .sort((a, b) => b.clock_seconds - a.clock_seconds || b.id - a.id);
      this.#sides[team].showGoals(own.slice(0, GOALS_SHOWN));
    }
  }
}

class Side {
  readonly #crest = element('span', { class: 'crest', 'aria-hidden': 'true' });
  readonly #name = element('span', { class: 'name' });
  readonly #score = element('span', { class: 'score' }, '–');
  readonly #goals = element('ul', { class: 'goals' });
  readonly root: HTMLElement;

  constructor(team: Team) {
    this.root = element('div', { class: `team ${team}` }, this.#crest, this.#name, this.#score, this.#goals);
  }

  show(name: string, score: number): void {
    this.#crest.textContent = name.slice(0, 1);
    this.#name.textContent = name;
    this.#score.textContent = String(score);
  }

  celebrate(): void {
    glow(this.#score, 'goal');
  }

  showGoals(goals: readonly Goal[]): void {
    this.#goals.replaceChildren(
      ...goals.map(({ scorer, clock_seconds }) =>
        element('li', {}, `${scorer} `, element('span', {}, clock(clock_seconds))),
      ),
    );
  }
}

const periodOf = (seconds: number) => Math.min(PERIODS, 1 + Math.floor(seconds / PERIOD_SECONDS));

function clock(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

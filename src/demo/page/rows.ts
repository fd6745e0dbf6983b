/** The rows of the demo's channels, as sql/demo/02_channels.sql declares them. */

export interface Task {
  readonly id: number;
  readonly board_id: number;
  readonly title: string;
  readonly status: TaskStatus;
  readonly position: number;
  readonly assignee: string | null;
}
export type TaskStatus = 'todo' | 'doing' | 'done';

export interface Match {
  readonly match_id: number;
  readonly home: string;
  readonly away: string;
  readonly home_score: number;
  readonly away_score: number;
  readonly clock_seconds: number;
  readonly status: 'live' | 'final';
}

export interface Goal {
  readonly id: number;
  readonly match_id: number;
  readonly team: Team;
  readonly scorer: string;
  readonly clock_seconds: number;
}
export type Team = 'home' | 'away';

export interface Price {
  readonly symbol: string;
  readonly market: string;
  readonly name: string;
  /** Numbers with their digits, as text. */
  readonly open: string;
  readonly price: string;
}

export interface Life {
  readonly id: number;
  readonly running: boolean;
}

/** A string as an SQL literal. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A command of the command line. One file per command; `sno.ts` knows them all. */
import type { SettingSources } from '../config/read.ts';
import type { SettingName, Settings } from '../config/settings.ts';

/** 0: done. 1: refused or failed. 2: invalid usage or setting. */
export type ExitCode = 0 | 1 | 2;

export interface Flag {
  /** The name of its value in the help. Undefined: the flag is a switch. */
  readonly value?: string;
  /** May be given more than once. */
  readonly repeated?: boolean;
  readonly description: string;
}

export interface Command {
  /** One line for `sno --help`. */
  readonly summary: string;
  /** The text after `sno COMMAND` in the usage line. */
  readonly usage: string;
  /** Paragraphs of its help. */
  readonly description: string;
  /** How many operands (arguments that are not flags) it takes. */
  readonly operands: { readonly min: number; readonly max: number };
  readonly flags: Readonly<Record<string, Flag>>;
  /**
   * The settings that it reads, for the help. Every setting is accepted as a flag by every command.
   */
  readonly settings: readonly SettingName[];
  /** Whether it serves clients, so that settings which contradict each other there are refused. */
  readonly serves?: boolean;
  run(invocation: Invocation): Promise<ExitCode>;
}

/** A command line as read, with its settings. */
export interface Invocation {
  readonly operands: readonly string[];
  /**
   * The command's own flags: each with its values, in order; a switch has one, the empty string.
   */
  readonly flags: ReadonlyMap<string, readonly string[]>;
  readonly settings: Settings;
  /** Where each setting comes from. */
  readonly sources: SettingSources;
}

/** Turns an error into the command line's text and exit code. */
import { SnoError } from '../errors.ts';
import { redacted } from '../redaction.ts';
import type { ExitCode } from './command.ts';

/**
 * `sno: code: what happened`, then what to do, indented. A bug shows its stack instead, so that a
 * developer can find it.
 */
export function describeError(error: unknown): string {
  return redacted(textOf(error));
}

function textOf(error: unknown): string {
  if (error instanceof SnoError) return `sno: ${error.code}: ${error.message}\n${indented(error.hint)}\n`;
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `sno: this is a bug, please report it:\n${indented(stack)}\n`;
}

export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof SnoError && (error.code === 'usage' || error.code === 'setting_invalid') ? 2 : 1;
}

export function indented(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}

export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import { redacted } from './redaction.ts';

export type { Logger };

const LEVELS = ['debug', 'info', 'warn', 'error', 'fatal'] as const;

/** Number of lines that this process has written, by level. */
export const logLines: Record<(typeof LEVELS)[number], number> = { debug: 0, info: 0, warn: 0, error: 0, fatal: 0 };

const isLevel = (level: string): level is keyof typeof logLines => level in logLines;

/**
 * The process's log: one JSON line per event, for the operator. Never contains a token, key or
 * password.
 */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options: LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    hooks: {
      logMethod(args, method, number) {
        const label = pino.levels.labels[number] ?? '';
        if (isLevel(label)) logLines[label]++;
        method.apply(this, args);
      },
      streamWrite: redacted,
    },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger };

/**
 * The process's log: one JSON line per event, for the operator. Never contains a token, key or
 * password.
 */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: ['token', 'password', 'databaseUrl', '*.token', '*.password', 'req.headers.authorization'],
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/**
 * The service, for programs that run it inside their own process. The client library is
 * `sno/client`.
 */
export { readSettings } from './config/read.ts';
export type { SettingName, Settings } from './config/settings.ts';
export { ERRORS, type ErrorCode, SnoError } from './errors.ts';
export { createLogger, type Logger } from './logger.ts';
export { type Service, startService } from './main.ts';

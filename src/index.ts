/** The service, for those who run it inside a process of their own. The client library is `sno/client`. */
export { readSettings, type SettingName, type Settings } from './config.ts';
export { ERRORS, type ErrorCode, SnoError } from './errors.ts';
export { createLogger, type Logger } from './logger.ts';
export { type Service, startService } from './main.ts';

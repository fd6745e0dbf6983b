/**
 * Replaces platform-errors.ts in bundles for pages. Browsers do not tell why a connection failed.
 * React Native, which uses the same bundles, gives a message.
 */
import type * as platform from './platform-errors.ts';

export const detailOf: typeof platform.detailOf = (event) =>
  typeof event?.message === 'string' ? event.message.replace(/\.$/, '') : '';

export const isTooLarge: typeof platform.isTooLarge = () => false;
export const checkOf: typeof platform.checkOf = () => undefined;
export const plainDetail: typeof platform.plainDetail = (detail) => detail;

/**
 * Bundles for pages have this in place of platform-errors.ts. Browsers say nothing of a connection
 * that failed; React Native, which has the same bundles, gives a message.
 */
import type * as platform from './platform-errors.ts';

export const detailOf: typeof platform.detailOf = (event) =>
  typeof event?.message === 'string' ? event.message.replace(/\.$/, '') : '';

export const isTooLarge: typeof platform.isTooLarge = () => false;
export const checkOf: typeof platform.checkOf = () => undefined;
export const plainDetail: typeof platform.plainDetail = (detail) => detail;

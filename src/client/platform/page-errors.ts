/**
 * Replaces platform-errors.ts in bundles for pages. Browsers do not tell why a connection failed.
 * React Native, which uses the same bundles, gives a message.
 */
import type * as platform from './platform-errors.ts';

export const detailOf: typeof platform.detailOf = (event) =>
  typeof event?.message === 'string' ? event.message.replace(/\.$/, '') : '';

// Bundlers leave out calls of functions that are empty, with the code that depends on them.
export function isTooLarge(_detail: string): undefined {}
export function isVague(_detail: string): undefined {}
export function breakOf(_detail: string, _isCut: boolean): undefined {}
export function checkOf(_detail: string): undefined {}
export function trustOf(_origin: string | undefined): undefined {}
export function socketAdvice(): undefined {}
export function plainDetail(detail: string): string {
  return detail;
}

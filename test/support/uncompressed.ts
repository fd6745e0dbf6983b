import { Deflater } from '../../src/fanout/deflater.ts';

/** For tests that are about something else: nothing is compressed. */
export const UNCOMPRESSED = new Deflater({ bytesMin: 0, copiesBytesMax: 0, deflated: () => {} });

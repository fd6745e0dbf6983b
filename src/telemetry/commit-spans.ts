/**
 * One span of OpenTelemetry for each commit that carries a trace (`sno.trace`): from the commit in
 * Postgres until its frames were passed to the sockets of live subscribers. Each process that
 * serves clients records its own.
 */
import type { SpanContext } from '@opentelemetry/api';
import type { Logger } from '../logger.ts';
import { OTLP_HINT, OTLP_PACKAGES, type OtlpSettings, RESOURCE, SCOPE, target } from './otlp.ts';
import { loaded } from './packages.ts';

export interface TracedCommit {
  /** W3C traceparent. */
  readonly trace: string;
  /** ms since 1970. */
  readonly committedAt: number;
  readonly xid: number;
}

export interface CommitSpans {
  /** The commit's frames have been passed to the sockets. */
  sent(commit: TracedCommit): void;
  /** Sends what is waiting, then stops. */
  stop(): Promise<void>;
}

/** Undefined: the settings ask for no spans. */
export async function startCommitSpans(settings: OtlpSettings, logger: Logger): Promise<CommitSpans | undefined> {
  if (settings.SNO_OTLP_URL === undefined || settings.SNO_OTLP_SIGNALS === 'metrics') return undefined;
  const [api, { BasicTracerProvider, BatchSpanProcessor }, { OTLPTraceExporter }, { resourceFromAttributes }] =
    await loaded('SNO_OTLP_URL', OTLP_PACKAGES, () =>
      Promise.all([
        import('@opentelemetry/api'),
        import('@opentelemetry/sdk-trace-base'),
        import('@opentelemetry/exporter-trace-otlp-http'),
        import('@opentelemetry/resources'),
      ]),
    );
  const exporter = new OTLPTraceExporter(target(settings, 'v1/traces'));
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes(RESOURCE),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  const tracer = provider.getTracer(SCOPE.name, SCOPE.version);
  return {
    sent({ trace, committedAt, xid }) {
      const parent = api.trace.setSpanContext(api.ROOT_CONTEXT, contextOf(trace));
      const options = { kind: api.SpanKind.PRODUCER, startTime: committedAt, attributes: { 'sno.xid': xid } };
      // The clocks of two machines may differ.
      tracer.startSpan('sno commit', options, parent).end(Math.max(Date.now(), committedAt));
    },
    async stop() {
      await provider
        .shutdown()
        .catch((error: Error) => logger.warn({ error: error.message, hint: OTLP_HINT }, 'spans were not sent'));
    },
  };
}

function contextOf(traceparent: string): SpanContext {
  const [, traceId = '', spanId = '', flags = '00'] = traceparent.split('-');
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
}

import { NoodleError } from "../../common/index.ts";
import { PROTOCOL_VERSION } from "../../protocol/index.ts";
import type { CoordinatorState } from "../../store/index.ts";
import { judgeHealth, planHolders } from "../state/index.ts";
import { Assigner, hashOf } from "./assigner.ts";
import { chooseSplit, describeSpread } from "./choose-layout.ts";
import { Connector } from "./connector.ts";
import { Control } from "./control.ts";
import { toError } from "./convert.ts";
import { describeProgress, describeStages } from "./describe.ts";
import { firstPlanEpoch } from "./open-state.ts";
import { Leavers } from "./leavers.ts";
import { Hold } from "./hold.ts";
import { LinkProbe } from "./link-probe.ts";
import type { ModelSource } from "./model-source.ts";
import type { CompiledCoordinatorOptions } from "./options.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Recorder } from "./recorder.ts";
import { readRowClasses } from "./row-classes.ts";
import { type PipelineFacts, Serving, type WantedPolicy } from "./serving.ts";
import type { PromptTokenizer } from "./tokenizer.ts";
import { WorkerLinks, type WorkerLinksOptions } from "./workers.ts";

export interface PlansOptions {
  readonly options: CompiledCoordinatorOptions;
  readonly source: ModelSource;
  readonly tokenizer: PromptTokenizer;
  readonly state: CoordinatorState;
  readonly contextTokens: number;
  /** Null where nobody observes. */
  readonly recorder: Recorder | null;
  readonly onBusy: WorkerLinksOptions["onBusy"];
  readonly isClosing: () => boolean;
}

/**
 * The plans of a cluster and what serves them: workers come, a plan is given out, its streams are opened, requests run on
 * it, and another takes its place.
 */
export class Plans {
  readonly control: Control;
  readonly links: WorkerLinks;
  readonly serving: Serving;
  readonly probe: LinkProbe;
  readonly #parts: PlansOptions;
  readonly #hold: Hold;
  readonly #connector: Connector;
  readonly #assigner: Assigner;
  readonly #leavers = new Leavers((nodeId, message) => this.links.tell(nodeId, message));
  #hasServed = false;

  constructor(parts: PlansOptions) {
    const { options, source, state, contextTokens, recorder } = parts;
    const { clock, security } = options;
    this.#parts = parts;
    const split = chooseSplit(source, options);
    const spread = describeSpread(source);
    this.probe = new LinkProbe((record) => recorder?.link(record));
    this.serving = this.#createServing();
    this.#connector = new Connector({
      clock,
      stepTimeoutMs: options.stepTimeoutMs,
      credentials: options.security?.credentials ?? null,
      transport: options.transport,
      onRoom: (epoch) => this.serving.pump(epoch),
      onResult: (epoch, result) => this.serving.receive(epoch, result),
      recordSteps: (plan) => recorder?.startSteps(plan) ?? null,
      onStepFailed: (step, fault) => {
        recorder?.noteStepFailed(step.sessionIds, fault);
        this.serving.failStep(step, fault);
      },
      onOpened: (pipeline) => this.#takePipeline(pipeline),
      onClosed: (pipeline) => {
        const isServing = this.serving.pipeline === pipeline;
        if (isServing) this.#noteServing(null);
        this.serving.close(pipeline);
        this.control.wakeWatchers();
      },
      onBroken: (epoch, fault) => this.control.dispatch({ type: "pipelineBroken", epoch, fault }),
    });
    this.control = new Control(
      {
        split,
        leaseMs: options.leaseMs,
        protocolVersion: PROTOCOL_VERSION,
        firstEpoch: firstPlanEpoch(state.term),
        engineBuild: options.engineBuild,
        parallel: options.parallel,
        threads: options.threads,
        cpuVariant: options.cpuVariant,
        formerHolders: state.readHolders(hashOf(source)),
        recoveryWaitMs: options.recoveryWaitMs,
        ...(spread === undefined ? {} : { spread }),
        ...(options.plan === null ? {} : { order: options.plan.order, terms: options.plan.terms }),
      },
      clock,
      {
        assign: () => this.#assigner.follow(this.control.state),
        expire: (nodeId, incarnation, fault) => this.links.drop(nodeId, incarnation, toError(fault)),
        endSession: (sessionId, fault) => this.serving.fail(sessionId, fault),
        changed: (next) => {
          recorder?.follow(next);
          this.#assigner.follow(next);
          this.#leavers.follow(next);
          this.#hold.begin(next);
          this.#connector.follow(next);
          this.#hold.settle(next);
        },
      },
    );
    this.links = new WorkerLinks({
      control: this.control,
      clock,
      coordinatorEpoch: state.term,
      leaseMs: options.leaseMs,
      ...(security === null ? {} : { readRevoked: () => security.roster.revoked }),
      onObservation: (nodeId, observation) => recorder?.observe(nodeId, observation),
      onDropped: (nodeId, count) => recorder?.noteDropped(nodeId, count),
      onBusy: parts.onBusy,
    });
    this.#hold = new Hold({
      isServing: () => this.isServing,
      onRelease: () => this.serving.release(),
    });
    this.#assigner = new Assigner({
      options,
      source,
      contextTokens,
      tell: (nodeId, message) => this.links.tell(nodeId, message),
      state,
    });
  }

  /** Steps of the plan in force can be sent. */
  get isServing(): boolean {
    return this.serving.pipeline !== null;
  }

  stop(): void {
    this.probe.stop();
    this.serving.stop();
    this.#connector.close();
    this.links.close("the coordinator is closing");
    this.control.stop();
  }

  #createServing(): Serving {
    const { clock, parallel, maxRows, determinism, queue, prefixCacheBytes, readerStallMs, recoveryWaitMs } =
      this.#parts.options;
    const { decodeInFlight, prefillRows, mixedPrefillRows } = this.#parts.options;
    return new Serving({
      clock,
      tokenizer: this.#parts.tokenizer,
      contextTokens: this.#parts.contextTokens,
      slots: parallel,
      maxRows,
      determinism,
      queue,
      prefixCacheBytes,
      readerStallMs,
      recoveryWaitMs,
      wanted: { decodeInFlight, maxDecodeRows: null, prefillRows, mixedPrefillRows },
      recorder: this.#parts.recorder,
      cluster: {
        isHeld: () => this.#hold.isOn,
        refusal: () => this.#findRefusal(),
        opened: ({ id, slot, epoch }) => this.control.dispatch({ type: "sessionOpened", session: { id, slot, epoch } }),
        moved: ({ id, epoch }) => this.control.dispatch({ type: "sessionMoved", sessionId: id, epoch }),
        closed: ({ id }) => this.control.dispatch({ type: "sessionClosed", sessionId: id }),
        formerIdle: (epoch) => this.control.dispatch({ type: "formerEnded", epoch }),
        stageFailed: (epoch, fault) => this.#connector.breakOff(epoch, fault),
        lastFault: () => this.control.state.lastFault,
        describeStages: (session) => describeStages(this.control.state, session),
      },
    });
  }

  /** The streams of a plan are open. The next plan is in force from here on. */
  #takePipeline(pipeline: Pipeline): void {
    const { epoch } = pipeline;
    this.control.dispatch({ type: "switched", epoch });
    const { plan } = this.control.state;
    if (plan?.epoch !== epoch) return;
    this.#hasServed = true;
    this.#noteServing(epoch);
    this.probe.follow(pipeline.stages);
    this.serving.open(pipeline, this.#describePipeline(plan.terms ?? null));
    this.#hold.settle(this.control.state);
    this.control.wakeWatchers();
  }

  #noteServing(epoch: number | null): void {
    this.#parts.recorder?.noteServing(epoch);
    if (epoch === null) this.probe.follow([]);
  }

  /**
   * Why nothing new can be served now; null when it can, or has to wait: for the plan that is given out, and for one that
   * repairs what a fault broke.
   */
  #findRefusal(): NoodleError | null {
    const { state } = this.control;
    if (!this.#parts.isClosing()) {
      if (this.#hold.isOn) return null;
      const health = judgeHealth(state);
      if (health.status === "ready" && this.isServing) return null;
      const isVacant = state.plan === null || state.plan.stages.some(({ nodeId }) => nodeId === null);
      if (this.#hasServed && !isVacant && this.#parts.options.recoveryWaitMs > 0) return null;
    }
    return new NoodleError("CLUSTER_NOT_READY", `the cluster is not ready: ${describeProgress(state).reason}`);
  }

  #describePipeline(wanted: WantedPolicy | null): PipelineFacts {
    const stages = planHolders(this.control.state).flatMap(({ stage }) => (stage === null ? [] : [stage]));
    const classes = stages.map(({ rowClassesJson }) => readRowClasses(rowClassesJson));
    const kvBytes = stages.reduce((sum, stage) => sum + stage.kvBytes, 0);
    return {
      classes: classes.filter((known) => known !== null),
      kvBytesPerToken: kvBytes / (this.#parts.contextTokens * this.#parts.options.parallel),
      wanted,
    };
  }
}

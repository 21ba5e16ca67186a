import { NoodleError } from "../../common/index.ts";
import { PROTOCOL_VERSION } from "../../protocol/index.ts";
import type { CoordinatorState } from "../../store/index.ts";
import { judgeHealth, planHolders } from "../state/index.ts";
import { Assigner, hashOf } from "./assigner.ts";
import { chooseSplit } from "./choose-layout.ts";
import { Connector } from "./connector.ts";
import { Control } from "./control.ts";
import { toError } from "./convert.ts";
import { describeProgress, describeStages } from "./describe.ts";
import { firstPlanEpoch } from "./open-state.ts";
import { Hold } from "./hold.ts";
import { LinkProbe } from "./link-probe.ts";
import type { ModelSource } from "./model-source.ts";
import type { CompiledCoordinatorOptions } from "./options.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Recorder } from "./recorder.ts";
import { readRowClasses } from "./row-classes.ts";
import { type PipelineFacts, Serving, type WantedPolicy } from "./serving.ts";
import { Servings } from "./servings.ts";
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
  readonly servings: Servings;
  readonly probe: LinkProbe;
  readonly #parts: PlansOptions;
  readonly #hold: Hold;
  readonly #connector: Connector;
  readonly #assigner: Assigner;

  constructor(parts: PlansOptions) {
    const { options, source, state, contextTokens, recorder } = parts;
    const { clock, security } = options;
    this.#parts = parts;
    const split = chooseSplit(source, options);
    this.probe = new LinkProbe((record) => recorder?.link(record));
    this.servings = new Servings({
      create: () => this.#createServing(),
      onFormerIdle: (epoch) => this.control.dispatch({ type: "formerEnded", epoch }),
    });
    this.#connector = new Connector({
      clock,
      stepTimeoutMs: options.stepTimeoutMs,
      credentials: options.security?.credentials ?? null,
      onRoom: (epoch) => this.servings.pump(epoch),
      onResult: (epoch, result) => this.servings.receive(epoch, result),
      recordSteps: (plan) => recorder?.startSteps(plan) ?? null,
      onStepFailed: (step, fault) => {
        recorder?.noteStepFailed(step.sessionIds, fault);
        this.servings.failStep(step, fault);
      },
      onOpened: (pipeline) => this.#takePipeline(pipeline),
      onClosed: (pipeline) => {
        const isServing = this.servings.current.runner.pipeline === pipeline;
        if (isServing) this.#noteServing(null);
        this.servings.close(pipeline);
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
        ...(options.plan === null ? {} : { order: options.plan.order, terms: options.plan.terms }),
      },
      clock,
      {
        assign: () => this.#assigner.follow(this.control.state),
        expire: (nodeId, incarnation, fault) => this.links.drop(nodeId, incarnation, toError(fault)),
        endSession: (sessionId, fault) => this.servings.fail(sessionId, fault),
        changed: (next) => {
          recorder?.follow(next);
          this.#assigner.follow(next);
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
      onRelease: () => this.servings.current.release(),
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
    return this.servings.current.runner.pipeline !== null;
  }

  stop(): void {
    this.probe.stop();
    this.servings.stop();
    this.#connector.close();
    this.links.close("the coordinator is closing");
    this.control.stop();
  }

  #createServing(): Serving {
    const { clock, parallel, maxRows, determinism, queue, prefixCacheBytes, readerStallMs } = this.#parts.options;
    const { decodeInFlight, prefillRows, mixedPrefillRows } = this.#parts.options;
    const serving: Serving = new Serving({
      clock,
      tokenizer: this.#parts.tokenizer,
      contextTokens: this.#parts.contextTokens,
      slots: parallel,
      maxRows,
      determinism,
      queue,
      prefixCacheBytes,
      readerStallMs,
      wanted: { decodeInFlight, maxDecodeRows: null, prefillRows, mixedPrefillRows },
      recorder: this.#parts.recorder,
      cluster: {
        isHeld: () => this.#hold.isOn && this.servings.isCurrent(serving),
        refusal: () => this.#findRefusal(serving),
        opened: ({ id, slot, epoch }) => this.control.dispatch({ type: "sessionOpened", session: { id, slot, epoch } }),
        closed: ({ id }) => {
          this.control.dispatch({ type: "sessionClosed", sessionId: id });
          queueMicrotask(() => this.servings.check());
        },
        describeStages: (session) => describeStages(this.control.state, session),
      },
    });
    return serving;
  }

  /** The streams of a plan are open. The next plan is in force from here on. */
  #takePipeline(pipeline: Pipeline): void {
    const { epoch } = pipeline;
    this.control.dispatch({ type: "switched", epoch });
    const { plan } = this.control.state;
    if (plan?.epoch !== epoch) return;
    this.#noteServing(epoch);
    this.probe.follow(pipeline.stages);
    this.servings.open(pipeline, this.#describePipeline(plan.terms ?? null));
    this.#hold.settle(this.control.state);
    this.control.wakeWatchers();
  }

  #noteServing(epoch: number | null): void {
    this.#parts.recorder?.noteServing(epoch);
    if (epoch === null) this.probe.follow([]);
  }

  /** Why nothing new can be served now; null when it can, or has to wait. A plan that runs out serves what waits for it. */
  #findRefusal(serving: Serving): NoodleError | null {
    const { state } = this.control;
    const isOpen = serving.runner.pipeline !== null && !this.#parts.isClosing();
    if (!this.#parts.isClosing() && this.#hold.isOn) return null;
    if (isOpen && (!this.servings.isCurrent(serving) || judgeHealth(state).status === "ready")) return null;
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

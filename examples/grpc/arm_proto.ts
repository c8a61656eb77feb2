// Generated from arm.proto by `deno task proto`; do not edit.

import type { MethodContext } from "@patchbay/grpc";

/** `example.arm.Arm` for a client: `ServiceClient.connect<Arm>`. */
export interface Arm {
  /** Says how to begin. */
  readonly Initialize: {
    readonly request: InitializeRequestInput;
    readonly response: InitializeResponse;
    readonly requestStream: false;
    readonly responseStream: false;
  };
  /** Does something, and tells how far it is. */
  readonly ExecuteCommand: {
    readonly request: ExecuteCommandRequestInput;
    readonly response: ExecuteCommandProgress;
    readonly requestStream: false;
    readonly responseStream: true;
  };
  /** What the arm measures. */
  readonly GetData: {
    readonly request: GetDataRequestInput;
    readonly response: GetDataResponse;
    readonly requestStream: false;
    readonly responseStream: false;
  };
  /** Takes many corrections and sums them up. */
  readonly Correct: {
    readonly request: CorrectionInput;
    readonly response: CorrectResponse;
    readonly requestStream: true;
    readonly responseStream: false;
  };
  /** Answers each point with the nearest that can be reached. */
  readonly Follow: {
    readonly request: PointInput;
    readonly response: Point;
    readonly requestStream: true;
    readonly responseStream: true;
  };
}

/** `example.arm.Arm` for a server: what answers its methods. */
export interface ArmHandlers {
  /** Says how to begin. */
  Initialize(
    request: InitializeRequest,
    context: MethodContext,
  ): InitializeResponseInput | Promise<InitializeResponseInput>;
  /** Does something, and tells how far it is. */
  ExecuteCommand(
    request: ExecuteCommandRequest,
    context: MethodContext,
  ): AsyncIterable<ExecuteCommandProgressInput>;
  /** What the arm measures. */
  GetData(
    request: GetDataRequest,
    context: MethodContext,
  ): GetDataResponseInput | Promise<GetDataResponseInput>;
  /** Takes many corrections and sums them up. */
  Correct(
    request: AsyncIterable<Correction>,
    context: MethodContext,
  ): CorrectResponseInput | Promise<CorrectResponseInput>;
  /** Answers each point with the nearest that can be reached. */
  Follow(request: AsyncIterable<Point>, context: MethodContext): AsyncIterable<PointInput>;
}

/** `example.arm.Speed`. */
export type Speed = "SPEED_UNSPECIFIED" | "SLOW" | "FAST";

/** `example.arm.Point`. */
export interface Point {
  /** Field 1. */
  readonly x: number;
  /** Field 2. */
  readonly y: number;
  /** Field 3. */
  readonly z: number;
}

/** `example.arm.Point`, as it may be sent: what is left out has its default. */
export interface PointInput {
  /** Field 1. */
  readonly x?: number;
  /** Field 2. */
  readonly y?: number;
  /** Field 3. */
  readonly z?: number;
}

/** `example.arm.InitializeRequest`. */
export interface InitializeRequest {
  /** Field 1. */
  readonly frontend: string;
  /** Field 2. */
  readonly settings: Readonly<Record<string, string>>;
}

/** `example.arm.InitializeRequest`, as it may be sent: what is left out has its default. */
export interface InitializeRequestInput {
  /** Field 1. */
  readonly frontend?: string;
  /** Field 2. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** `example.arm.InitializeResponse`. */
export interface InitializeResponse {
  /** The session that the other calls belong to. */
  readonly session: string;
  /** Field 2. */
  readonly joints: readonly string[];
}

/** `example.arm.InitializeResponse`, as it may be sent: what is left out has its default. */
export interface InitializeResponseInput {
  /** The session that the other calls belong to. */
  readonly session?: bigint | number | string;
  /** Field 2. */
  readonly joints?: readonly string[];
}

/** `example.arm.ExecuteCommandRequest`. */
export interface ExecuteCommandRequest {
  /** Field 1. */
  readonly session: string;
  /** Field 2. */
  readonly move_to?: Point;
  /** Field 3. */
  readonly grip?: string;
  /** Field 4. */
  readonly speed: Speed | number;
}

/** `example.arm.ExecuteCommandRequest`, as it may be sent: what is left out has its default. */
export interface ExecuteCommandRequestInput {
  /** Field 1. */
  readonly session?: bigint | number | string;
  /** Field 2. */
  readonly move_to?: PointInput;
  /** Field 3. */
  readonly grip?: string;
  /** Field 4. */
  readonly speed?: Speed | number;
}

/** `example.arm.ExecuteCommandProgress`. */
export interface ExecuteCommandProgress {
  /** 0 to 1. */
  readonly done: number;
  /** Field 2. */
  readonly at: Point | null;
}

/** `example.arm.ExecuteCommandProgress`, as it may be sent: what is left out has its default. */
export interface ExecuteCommandProgressInput {
  /** 0 to 1. */
  readonly done?: number;
  /** Field 2. */
  readonly at?: PointInput | null;
}

/** `example.arm.GetDataRequest`. */
export interface GetDataRequest {
  /** Field 1. */
  readonly names: readonly string[];
  /** How many samples; absent: one. */
  readonly samples?: number;
}

/** `example.arm.GetDataRequest`, as it may be sent: what is left out has its default. */
export interface GetDataRequestInput {
  /** Field 1. */
  readonly names?: readonly string[];
  /** How many samples; absent: one. */
  readonly samples?: number;
}

/** `example.arm.GetDataResponse`. */
export interface GetDataResponse {
  /** Field 1. */
  readonly data: Readonly<Record<string, GetDataResponse_Series>>;
}

/** `example.arm.GetDataResponse`, as it may be sent: what is left out has its default. */
export interface GetDataResponseInput {
  /** Field 1. */
  readonly data?: Readonly<Record<string, GetDataResponse_SeriesInput>>;
}

/** `example.arm.GetDataResponse.Series`. */
export interface GetDataResponse_Series {
  /** Field 1. */
  readonly values: readonly number[];
  /** Field 2. */
  readonly raw: Uint8Array;
}

/** `example.arm.GetDataResponse.Series`, as it may be sent: what is left out has its default. */
export interface GetDataResponse_SeriesInput {
  /** Field 1. */
  readonly values?: readonly number[];
  /** Field 2. */
  readonly raw?: Uint8Array;
}

/** `example.arm.Correction`. */
export interface Correction {
  /** Field 1. */
  readonly by: number;
}

/** `example.arm.Correction`, as it may be sent: what is left out has its default. */
export interface CorrectionInput {
  /** Field 1. */
  readonly by?: number;
}

/** `example.arm.CorrectResponse`. */
export interface CorrectResponse {
  /** Field 1. */
  readonly sum: number;
}

/** `example.arm.CorrectResponse`, as it may be sent: what is left out has its default. */
export interface CorrectResponseInput {
  /** Field 1. */
  readonly sum?: number;
}

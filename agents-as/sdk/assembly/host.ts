/** The host's functions, module `sirsi`. Nothing else in the SDK declares an import. */

// @ts-ignore: decorator
@external("sirsi", "log")
export declare function hostLog(level: i32, ptr: usize, length: i32): void;

// @ts-ignore: decorator
@external("sirsi", "now")
export declare function hostNow(): i64;

// @ts-ignore: decorator
@external("sirsi", "random")
export declare function hostRandom(ptr: usize, length: i32): void;

// @ts-ignore: decorator
@external("sirsi", "emit")
export declare function hostEmit(ptr: usize, length: i32): void;

/** Waits: the host may put the whole instance away and bring it back elsewhere before this returns. */
// @ts-ignore: decorator
@external("sirsi", "request")
export declare function hostRequest(ptr: usize, length: i32): i64;

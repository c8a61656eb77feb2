import assert from "node:assert/strict";
import type { PatchbayError } from "../errors.ts";
import { type Claimant, HubClaims } from "./hub_claims.ts";

const ID = "0123456789abcdef";
const nobody: Claimant = { identity: undefined, resume: undefined };
const known = (identity: string): Claimant => ({ identity, resume: undefined });
const secret = (resume: string): Claimant => ({ identity: undefined, resume });

function isRefused(claims: HubClaims, claimant: Claimant, id = ID): boolean {
  try {
    claims.claim(id, claimant);
  } catch (error) {
    const { code, remedy = "" } = error as PatchbayError;
    assert.equal(code, "forbidden");
    assert.match(remedy, /an id of its own/);
    return true;
  }
  claims.release(id);
  return false;
}

Deno.test("hub claims: an id is its owner's: by identity, else by secret, else by nothing", () => {
  const cases: [Claimant, Claimant, boolean][] = [
    [known("alice"), known("alice"), false],
    [known("alice"), known("mallory"), true],
    [known("alice"), nobody, true],
    [known("alice"), secret("s"), true],
    [nobody, known("mallory"), true],
    [{ identity: "alice", resume: "s" }, { identity: "mallory", resume: "s" }, true],
    // Who has proved who it is needs no secret.
    [{ identity: "alice", resume: "s" }, known("alice"), false],
    [secret("s"), secret("s"), false],
    [secret("s"), secret("other"), true],
    [secret("s"), secret(""), true],
    [secret("s"), nobody, true],
    [nobody, nobody, false],
    [nobody, secret("s"), false],
  ];
  for (const [owner, claimant, refused] of cases) {
    const claims = new HubClaims();
    claims.claim(ID, owner);
    assert.equal(isRefused(claims, claimant), refused, JSON.stringify([owner, claimant]));
    // The refusal has changed nothing.
    assert.equal(isRefused(claims, owner), false);
  }
});

Deno.test("hub claims: an id stays its owner's for a minute after its last connection", () => {
  let nowMs = 0;
  const claims = new HubClaims(() => nowMs);
  claims.claim(ID, secret("s"));
  claims.claim(ID, secret("s"));
  claims.release(ID);
  nowMs = 1e9;
  assert.ok(isRefused(claims, nobody), "one connection is left");
  claims.release(ID);
  nowMs += 60_000;
  assert.ok(isRefused(claims, nobody), "it may come back");
  nowMs += 1;
  assert.ok(!isRefused(claims, nobody), "it is free");
});

Deno.test("hub claims: so many are remembered and no more, the longest away goes first", () => {
  const claims = new HubClaims(() => 0);
  for (let i = 0; i <= 4096; i++) {
    claims.claim(`${i}`, secret("s"));
    claims.release(`${i}`);
  }
  assert.ok(!isRefused(claims, nobody, "0"));
  for (const id of ["2", "4096"]) assert.ok(isRefused(claims, nobody, id), id);
});

"""Plays a user of clients/python/patchbay.py: prints one line of JSON for each thing it saw."""

import asyncio
import json
import sys

import patchbay


def say(name, value):
    print(json.dumps([name, value]), flush=True)


async def refusal(work):
    try:
        await work
    except patchbay.PatchbayError as error:
        return [error.code, error.message]
    return None


async def main(url):
    async with patchbay.connect(
        url, module="snake", token="open sesame", reconnect_min=0.01, reconnect_max=0.1
    ) as bay:
        say("hub", bay.hub["module"])
        await calls(bay)
        await shouts(bay)
        await jobs(bay)
        await serving(bay)
        await cut(bay)
    try:
        async with patchbay.connect(url, token="wrong", reconnect=False):
            pass
    except patchbay.PatchbayError as error:
        say("wrong token", error.code)


async def calls(bay):
    say("echo", await bay.call("arm/echo", {"text": "täxt", "list": [1, None, True]}))
    data = await bay.call("arm/echo", bytes(range(256)))
    say("bytes", data == bytes(range(256)))
    say("nothing", await bay.call("arm/echo"))
    say("headers", await bay.call("arm/who", headers={"a": "b"}))
    say("throws", await refusal(bay.call("arm/throws", 1)))
    say("nobody", (await refusal(bay.call("arm/nobody", 1)))[0])
    say("late", (await refusal(bay.call("arm/hang", 1, timeout=0.05)))[0])
    say("nan", (await refusal(bay.call("arm/echo", float("nan"))))[0])
    say("many", await asyncio.gather(*(bay.call("arm/echo", n) for n in range(50))) == list(range(50)))


async def shouts(bay):
    async with await bay.listen("arm/*", retained=True) as events:
        event = await events.__anext__()
        say("retained", [event.address, event.value, event.retained])
        await bay.call("arm/tick", 2)
        event = await events.__anext__()
        say("event", [event.value, event.peer["module"], event.sequence])
    slow = await bay.listen("arm/tick", overflow="block", max_queue=2)
    ticking = asyncio.ensure_future(bay.call("arm/tick", 20, timeout=None))
    values = []
    async for event in slow:
        values.append(event.value)
        if len(values) == 20:
            break
    await ticking
    await slow.close()
    say("blocked", values)
    say("listeners", await bay.shout("snake/temp", 21.5, retain=True))
    await bay.shout("snake/temp", b"\x01\x02")


async def jobs(bay):
    job = await bay.execute("arm/count", 3)
    say("feedback", [value async for value in job.feedback()])
    say("result", [await job.result(), job.progress])
    job = await bay.execute("arm/count", 0)
    await job.cancel("enough")
    say("cancelled", (await refusal(job.result()))[0])


async def serving(bay):
    def add(pair, context):
        if pair is None:
            raise ValueError("no pair")
        return {"sum": sum(pair), "peer": context.peer["module"], "in time": context.remaining > 0}

    async def paint(goal, context):
        for n in (1, 2):
            await context.feedback(n)
        await context.progress(0.5)
        if goal == "for ever":
            await asyncio.Event().wait()
        return f"{goal} painted"

    async with await bay.serve("snake/add", add), await bay.perform("snake/paint", paint):
        say("served", await bay.call("arm/ask", "snake/add", timeout=10))
        say("performed", await bay.call("arm/paint", "wall", timeout=10))
        say("stopped", await bay.call("arm/paint", "for ever", timeout=10))
    say("closed", (await refusal(bay.call("snake/add", [1])))[0])


async def cut(bay):
    """The connection is cut: what is served, heard and executed goes on."""
    await bay.serve("snake/alive", lambda value, context: value)
    events = await bay.listen("arm/tick")
    job = await bay.execute("arm/gate", 1)
    first = [value async for value in _take(job.feedback(), 1)]
    pending = asyncio.ensure_future(refusal(bay.call("arm/hang", 1, timeout=None)))
    await asyncio.sleep(0)
    await refusal(bay.shout("snake/cut", True))  # Its own acknowledgement may be cut off.
    say("pending", (await pending)[0])
    while True:
        try:
            await bay.call("arm/tick", 1)
            break
        except patchbay.PatchbayError:
            await asyncio.sleep(0.01)
    say("heard again", (await events.__anext__()).value)
    await bay.call("arm/open")
    rest = [value async for value in job.feedback()]
    say("job goes on", [first + rest, await job.result()])
    say("served again", await bay.call("arm/ask-alive"))


async def _take(values, count):
    async for value in values:
        yield value
        count -= 1
        if count == 0:
            return


asyncio.run(main(sys.argv[1]))

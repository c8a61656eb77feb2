// One side of a request/response over iceoryx 2, spinning: the floor of the shared_memory suite.
// `iceoryx server` answers until its input ends; `iceoryx client` reads a number of milliseconds a
// line, calls for so long, and prints the median round trip in nanoseconds and the calls.
// API: https://iceoryx.io/v2.0.0/examples/request_response/
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <poll.h>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "iceoryx_posh/popo/client.hpp"
#include "iceoryx_posh/popo/server.hpp"
#include "iceoryx_posh/runtime/posh_runtime.hpp"

struct Bytes {
  uint8_t bytes[64];
};

static const iox::capro::ServiceDescription SERVICE{"Patchbay", "Bench", "Echo"};
// Looked at so often before whoever shares the core may run: the same as in Patchbay.
static const int POLLS = 100;

static bool input_ended() {
  pollfd input{0, POLLIN, 0};
  char byte;
  return poll(&input, 1, 0) > 0 && read(0, &byte, 1) <= 0;
}

static int serve() {
  iox::popo::Server<Bytes, Bytes> server(SERVICE);
  std::puts("ready");
  std::fflush(stdout);
  for (uint64_t idle = 0;;) {
    bool taken = false;
    server.take().and_then([&](const auto& request) {
      taken = true;
      server.loan(request).and_then([&](auto& response) {
        std::memcpy(response->bytes, request->bytes, sizeof(Bytes));
        (void)response.send();
      });
    });
    if (taken) {
      idle = 0;
      continue;
    }
    if (++idle % POLLS == 0) sched_yield();
    if (idle % (POLLS * 1000) == 0) {
      if (input_ended()) return 0;
      // Not in use: the other floors and Patchbay must have the core to themselves.
      if (idle > POLLS * 5000) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

static int call() {
  using Clock = std::chrono::steady_clock;
  iox::popo::Client<Bytes, Bytes> client(SERVICE);
  while (client.getConnectionState() != iox::ConnectionState::CONNECTED) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::puts("ready");
  std::fflush(stdout);
  char line[64];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    const auto end = Clock::now() + std::chrono::milliseconds(std::stol(line));
    std::vector<int64_t> took;
    uint8_t n = 0;
    for (auto start = Clock::now(); start < end;) {
      ++n;
      client.loan().and_then([&](auto& request) {
        std::memset(request->bytes, n, sizeof(Bytes));
        (void)request.send();
      });
      bool answered = false;
      for (int polls = 0; !answered;) {
        client.take().and_then([&](const auto& response) {
          if (response->bytes[63] != n) std::abort();
          answered = true;
        });
        if (!answered && ++polls % POLLS == 0) sched_yield();
      }
      const auto then = Clock::now();
      took.push_back(std::chrono::nanoseconds(then - start).count());
      start = then;
    }
    std::nth_element(took.begin(), took.begin() + took.size() / 2, took.end());
    std::printf("%lld %zu\n", static_cast<long long>(took[took.size() / 2]), took.size());
    std::fflush(stdout);
  }
  return 0;
}

int main(int argc, char** argv) {
  const bool serving = argc > 1 && std::string(argv[1]) == "server";
  iox::runtime::PoshRuntime::initRuntime(serving ? "patchbay_server" : "patchbay_client");
  return serving ? serve() : call();
}

// What an action server and an action client do, whatever stack they talk over: included by
// fast_actions.cpp and cyclone_actions.cpp, which give it a Wire. Commands, one line each:
//
//     server                 serve /fibonacci: goals below 0 are refused, those from 40 on never end
//     client                 make the endpoints of a client
//     goal ORDER             send a goal: "sent ID", "accepted ID 0|1", "feedback ID COUNT",
//                            "result ID STATUS COUNT LAST"; the result is asked for by itself
//     result ID · cancel ID  ask for a result; cancel: "canceling ID CODE COUNT"
#pragma once
#include <array>
#include <cstdio>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

using Id = std::array<uint8_t, 16>;
// Who asked, and as which request: 16 bytes of identity, 8 of number.
struct Ticket {
  std::array<uint8_t, 16> who{};
  int64_t number = 0;
};
enum Status { ACCEPTED = 1, EXECUTING, CANCELING, SUCCEEDED, CANCELED, ABORTED };

inline void say(const std::string &line) {
  static std::mutex out;
  std::lock_guard<std::mutex> lock(out);
  std::cout << line << std::endl;
}
template <typename... Words> void tell(const Words &...words) {
  std::ostringstream line;
  (line << ... << words);
  say(line.str());
}
inline std::string hex(const Id &id) {
  std::string text;
  char two[3];
  for (uint8_t byte : id) {
    snprintf(two, sizeof two, "%02x", byte);
    text += two;
  }
  return text;
}
inline Id unhex(const std::string &text) {
  Id id{};
  for (size_t i = 0; i < 16; i++) id[i] = (uint8_t)std::stoi(text.substr(2 * i, 2), nullptr, 16);
  return id;
}

struct GoalNote {
  Id id;
  int status;
};

// What a stack must do.
struct Wire {
  virtual ~Wire() = default;
  virtual void replyGoal(const Ticket &, bool accepted) = 0;
  virtual void replyResult(const Ticket &, int status, const std::vector<int> &) = 0;
  virtual void replyCancel(const Ticket &, int code, const std::vector<Id> &) = 0;
  virtual void feedback(const Id &, const std::vector<int> &) = 0;
  virtual void status(const std::vector<GoalNote> &) = 0;
  // The number of the request, which its reply names.
  virtual int64_t askGoal(const Id &, int order) = 0;
  virtual int64_t askResult(const Id &) = 0;
  virtual int64_t askCancel(const Id &) = 0;
};

class Server {
  struct Goal {
    int status;
    std::vector<int> sequence;
    std::vector<Ticket> waiting;
  };
  Wire &wire;
  std::mutex lock;
  std::map<Id, Goal> goals;

  void publish() {
    std::vector<GoalNote> list;
    for (auto &[id, goal] : goals) list.push_back({id, goal.status});
    wire.status(list);
  }
  void end(Goal &goal, int status) {
    goal.status = status;
    publish();
    for (auto &ticket : goal.waiting) wire.replyResult(ticket, status, goal.sequence);
    goal.waiting.clear();
  }

public:
  explicit Server(Wire &wire) : wire(wire) {}
  void onGoal(const Ticket &from, const Id &id, int order) {
    std::lock_guard<std::mutex> held(lock);
    bool accepted = order >= 0 && !goals.count(id);
    wire.replyGoal(from, accepted);
    if (!accepted) return;
    Goal &goal = goals[id] = {EXECUTING, {0, 1}, {}};
    publish();
    while ((int)goal.sequence.size() <= (order < 40 ? order : 2)) {
      size_t n = goal.sequence.size();
      goal.sequence.push_back(goal.sequence[n - 1] + goal.sequence[n - 2]);
      wire.feedback(id, goal.sequence);
    }
    if (order < 40) end(goal, SUCCEEDED);
  }
  void onResult(const Ticket &from, const Id &id) {
    std::lock_guard<std::mutex> held(lock);
    auto found = goals.find(id);
    if (found == goals.end()) return wire.replyResult(from, 0, {});
    if (found->second.status < SUCCEEDED) return found->second.waiting.push_back(from);
    wire.replyResult(from, found->second.status, found->second.sequence);
  }
  void onCancel(const Ticket &from, const Id &id) {
    std::lock_guard<std::mutex> held(lock);
    auto found = goals.find(id);
    if (found == goals.end()) return wire.replyCancel(from, 2, {});
    if (found->second.status >= SUCCEEDED) return wire.replyCancel(from, 3, {});
    wire.replyCancel(from, 0, {id});
    end(found->second, CANCELED);
  }
};

class Client {
  Wire &wire;
  std::mutex lock;
  std::map<int64_t, Id> goals, results, cancels;
  uint8_t last = 0;

  Id found(std::map<int64_t, Id> &asked, int64_t number) {
    std::lock_guard<std::mutex> held(lock);
    return asked.count(number) ? asked[number] : Id{};
  }

public:
  explicit Client(Wire &wire) : wire(wire) {}
  void send(int order) {
    Id id;
    id.fill(0xc0);
    id[15] = ++last;
    tell("sent ", hex(id));
    std::lock_guard<std::mutex> held(lock);
    goals[wire.askGoal(id, order)] = id;
  }
  void result(const Id &id) {
    std::lock_guard<std::mutex> held(lock);
    results[wire.askResult(id)] = id;
  }
  void cancel(const Id &id) {
    std::lock_guard<std::mutex> held(lock);
    cancels[wire.askCancel(id)] = id;
  }
  void onGoal(int64_t number, bool accepted) {
    Id id = found(goals, number);
    tell("accepted ", hex(id), " ", accepted);
    if (accepted) result(id);
  }
  void onResult(int64_t number, int status, const std::vector<int> &sequence) {
    tell("result ", hex(found(results, number)), " ", status, " ", sequence.size(), " ",
         sequence.empty() ? 0 : sequence.back());
  }
  void onCancel(int64_t number, int code, size_t count) {
    tell("canceling ", hex(found(cancels, number)), " ", code, " ", count);
  }
  void onFeedback(const Id &id, size_t count) { tell("feedback ", hex(id), " ", count); }
  void onStatus(const Id &id, int status) { tell("status ", hex(id), " ", status); }
};

// Reads commands until the input ends.
inline void obey(Client &client, const std::function<void(bool server)> &make) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string verb, word;
    words >> verb >> word;
    if (verb == "server" || verb == "client") make(verb == "server");
    else if (verb == "goal") client.send(std::stoi(word));
    else if (verb == "result") client.result(unhex(word));
    else if (verb == "cancel") client.cancel(unhex(word));
    else if (verb == "say") say(word);
  }
}

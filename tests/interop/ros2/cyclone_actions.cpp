// An action server and client on Cyclone DDS: action_logic.hpp says what it is told and prints.
#include "action_logic.hpp"
#include "actions.h"
#include "dds/dds.h"
#include <deque>
#include <pthread.h>
#include <unistd.h>

static const uint64_t SELF = 0x1122334455667788; // As unique as one of a test must be.

struct Cyclone : Wire {
  dds_entity_t participant = 0, waitset = 0;
  dds_entity_t goalWriter = 0, resultWriter = 0, cancelWriter = 0;
  dds_entity_t feedbackWriter = 0, statusWriter = 0;
  int64_t requests = 0;
  std::deque<std::pair<dds_entity_t, std::function<void(void *)>>> ears;

  dds_entity_t make(bool writes, const char *name, const dds_topic_descriptor_t *type, bool state) {
    dds_qos_t *qos = dds_create_qos();
    dds_qset_reliability(qos, DDS_RELIABILITY_RELIABLE, DDS_SECS(10));
    dds_qset_durability(qos, state ? DDS_DURABILITY_TRANSIENT_LOCAL : DDS_DURABILITY_VOLATILE);
    dds_qset_history(qos, DDS_HISTORY_KEEP_LAST, state ? 1 : 10);
    if (state) dds_qset_durability_service(qos, 0, DDS_HISTORY_KEEP_LAST, 1, -1, -1, -1);
    dds_entity_t topic = dds_create_topic(participant, type, name, NULL, NULL);
    dds_listener_t *listener = dds_create_listener(NULL);
    dds_lset_publication_matched(listener, [](dds_entity_t, dds_publication_matched_status_t s, void *) {
      tell("matched ", s.current_count);
    });
    dds_lset_subscription_matched(listener, [](dds_entity_t, dds_subscription_matched_status_t s, void *) {
      tell("matched ", s.current_count);
    });
    dds_entity_t made = writes ? dds_create_writer(participant, topic, qos, listener)
                               : dds_create_reader(participant, topic, qos, listener);
    if (made < 0) tell("error ", name, " ", dds_strretcode(made));
    dds_delete_qos(qos);
    return made;
  }
  dds_entity_t writer(const char *name, const dds_topic_descriptor_t *type, bool state = false) {
    return make(true, name, type, state);
  }
  template <typename Value>
  void reader(const char *name, const dds_topic_descriptor_t *type, std::function<void(Value &)> heard,
              bool state = false) {
    dds_entity_t made = make(false, name, type, state);
    ears.emplace_back(made, [heard](void *value) { heard(*static_cast<Value *>(value)); });
    dds_attach_t mark = (dds_attach_t)&ears.back();
    dds_waitset_attach(waitset, dds_create_readcondition(made, DDS_ANY_STATE), mark);
  }
  static void write(dds_entity_t writer, const void *value) {
    dds_return_t done = dds_write(writer, value);
    if (done != 0) tell("error write ", dds_strretcode(done));
  }

  // rmw_cyclonedds: a request carries its client and number in front; a reply repeats them.
  template <typename Value> static Ticket ticketOf(const Value &value) {
    Ticket ticket;
    memcpy(ticket.who.data(), &value.client, 8);
    ticket.number = value.number;
    return ticket;
  }
  template <typename Value> static Value replyTo(const Ticket &to) {
    Value value;
    memset(&value, 0, sizeof value);
    memcpy(&value.client, to.who.data(), 8);
    value.number = to.number;
    return value;
  }
  template <typename Value> Value request(const Id &) {
    Value value;
    memset(&value, 0, sizeof value);
    value.client = SELF;
    value.number = ++requests;
    return value;
  }
  static Id idOf(const unique_identifier_msgs_msg_dds__UUID_ &uuid) {
    Id id;
    memcpy(id.data(), uuid.uuid, 16);
    return id;
  }

  void replyGoal(const Ticket &to, bool accepted) override {
    auto r = replyTo<example_interfaces_action_dds__Fibonacci_SendGoal_Response_>(to);
    r.accepted = accepted;
    r.stamp.sec = 7;
    write(goalWriter, &r);
  }
  void replyResult(const Ticket &to, int status, const std::vector<int> &sequence) override {
    auto r = replyTo<example_interfaces_action_dds__Fibonacci_GetResult_Response_>(to);
    r.status = (uint8_t)status;
    r.result.numbers._length = r.result.numbers._maximum = (uint32_t)sequence.size();
    r.result.numbers._buffer = const_cast<int32_t *>(sequence.data());
    write(resultWriter, &r);
  }
  void replyCancel(const Ticket &to, int code, const std::vector<Id> &ids) override {
    auto r = replyTo<action_msgs_srv_dds__CancelGoal_Response_>(to);
    r.return_code = (uint8_t)code;
    std::vector<action_msgs_msg_dds__GoalInfo_> infos(ids.size());
    for (size_t i = 0; i < ids.size(); i++) memcpy(infos[i].goal_id.uuid, ids[i].data(), 16);
    r.goals_canceling._length = r.goals_canceling._maximum = (uint32_t)infos.size();
    r.goals_canceling._buffer = infos.data();
    write(cancelWriter, &r);
  }
  void feedback(const Id &id, const std::vector<int> &sequence) override {
    example_interfaces_action_dds__Fibonacci_FeedbackMessage_ f;
    memset(&f, 0, sizeof f);
    memcpy(f.goal_id.uuid, id.data(), 16);
    f.feedback.numbers._length = f.feedback.numbers._maximum = (uint32_t)sequence.size();
    f.feedback.numbers._buffer = const_cast<int32_t *>(sequence.data());
    write(feedbackWriter, &f);
  }
  void status(const std::vector<GoalNote> &list) override {
    std::vector<action_msgs_msg_dds__GoalStatus_> notes(list.size());
    for (size_t i = 0; i < list.size(); i++) {
      memcpy(notes[i].goal_info.goal_id.uuid, list[i].id.data(), 16);
      notes[i].status = (uint8_t)list[i].status;
    }
    action_msgs_msg_dds__GoalStatusArray_ all;
    memset(&all, 0, sizeof all);
    all.status_list._length = all.status_list._maximum = (uint32_t)notes.size();
    all.status_list._buffer = notes.data();
    write(statusWriter, &all);
  }
  int64_t askGoal(const Id &id, int order) override {
    auto r = request<example_interfaces_action_dds__Fibonacci_SendGoal_Request_>(id);
    memcpy(r.goal_id.uuid, id.data(), 16);
    r.goal.order = order;
    write(goalWriter, &r);
    return r.number;
  }
  int64_t askResult(const Id &id) override {
    auto r = request<example_interfaces_action_dds__Fibonacci_GetResult_Request_>(id);
    memcpy(r.goal_id.uuid, id.data(), 16);
    write(resultWriter, &r);
    return r.number;
  }
  int64_t askCancel(const Id &id) override {
    auto r = request<action_msgs_srv_dds__CancelGoal_Request_>(id);
    memcpy(r.goal_info.goal_id.uuid, id.data(), 16);
    write(cancelWriter, &r);
    return r.number;
  }

  void serve(Server &server) {
    goalWriter = writer("rr/fibonacci/_action/send_goalReply",
                        &example_interfaces_action_dds__Fibonacci_SendGoal_Response__desc);
    resultWriter = writer("rr/fibonacci/_action/get_resultReply",
                          &example_interfaces_action_dds__Fibonacci_GetResult_Response__desc);
    cancelWriter =
        writer("rr/fibonacci/_action/cancel_goalReply", &action_msgs_srv_dds__CancelGoal_Response__desc);
    feedbackWriter = writer("rt/fibonacci/_action/feedback",
                            &example_interfaces_action_dds__Fibonacci_FeedbackMessage__desc);
    statusWriter =
        writer("rt/fibonacci/_action/status", &action_msgs_msg_dds__GoalStatusArray__desc, true);
    reader<example_interfaces_action_dds__Fibonacci_SendGoal_Request_>(
        "rq/fibonacci/_action/send_goalRequest",
        &example_interfaces_action_dds__Fibonacci_SendGoal_Request__desc,
        [&](auto &r) { server.onGoal(ticketOf(r), idOf(r.goal_id), r.goal.order); });
    reader<example_interfaces_action_dds__Fibonacci_GetResult_Request_>(
        "rq/fibonacci/_action/get_resultRequest",
        &example_interfaces_action_dds__Fibonacci_GetResult_Request__desc,
        [&](auto &r) { server.onResult(ticketOf(r), idOf(r.goal_id)); });
    reader<action_msgs_srv_dds__CancelGoal_Request_>(
        "rq/fibonacci/_action/cancel_goalRequest", &action_msgs_srv_dds__CancelGoal_Request__desc,
        [&](auto &r) { server.onCancel(ticketOf(r), idOf(r.goal_info.goal_id)); });
  }
  void dial(Client &client) {
    reader<example_interfaces_action_dds__Fibonacci_SendGoal_Response_>(
        "rr/fibonacci/_action/send_goalReply",
        &example_interfaces_action_dds__Fibonacci_SendGoal_Response__desc, [&](auto &r) {
          if (r.client == SELF) client.onGoal(r.number, r.accepted);
        });
    reader<example_interfaces_action_dds__Fibonacci_GetResult_Response_>(
        "rr/fibonacci/_action/get_resultReply",
        &example_interfaces_action_dds__Fibonacci_GetResult_Response__desc, [&](auto &r) {
          auto &numbers = r.result.numbers;
          std::vector<int> sequence(numbers._buffer, numbers._buffer + numbers._length);
          if (r.client == SELF) client.onResult(r.number, r.status, sequence);
        });
    reader<action_msgs_srv_dds__CancelGoal_Response_>(
        "rr/fibonacci/_action/cancel_goalReply", &action_msgs_srv_dds__CancelGoal_Response__desc,
        [&](auto &r) {
          if (r.client == SELF) client.onCancel(r.number, r.return_code, r.goals_canceling._length);
        });
    reader<example_interfaces_action_dds__Fibonacci_FeedbackMessage_>(
        "rt/fibonacci/_action/feedback", &example_interfaces_action_dds__Fibonacci_FeedbackMessage__desc,
        [&](auto &f) { client.onFeedback(idOf(f.goal_id), f.feedback.numbers._length); });
    reader<action_msgs_msg_dds__GoalStatusArray_>(
        "rt/fibonacci/_action/status", &action_msgs_msg_dds__GoalStatusArray__desc,
        [&](auto &all) {
          for (uint32_t i = 0; i < all.status_list._length; i++) {
            auto &one = all.status_list._buffer[i];
            client.onStatus(idOf(one.goal_info.goal_id), one.status);
          }
        },
        true);
    goalWriter = writer("rq/fibonacci/_action/send_goalRequest",
                        &example_interfaces_action_dds__Fibonacci_SendGoal_Request__desc);
    resultWriter = writer("rq/fibonacci/_action/get_resultRequest",
                          &example_interfaces_action_dds__Fibonacci_GetResult_Request__desc);
    cancelWriter =
        writer("rq/fibonacci/_action/cancel_goalRequest", &action_msgs_srv_dds__CancelGoal_Request__desc);
  }
};

// Writing may have to wait for acknowledgements, which the thread that calls listeners receives: so
// another one takes.
static void *work(void *arg) {
  auto &wire = *static_cast<Cyclone *>(arg);
  dds_attach_t ready[16];
  for (;;) {
    int n = dds_waitset_wait(wire.waitset, ready, 16, DDS_INFINITY);
    for (int i = 0; i < n; i++) {
      auto &ear = *reinterpret_cast<std::pair<dds_entity_t, std::function<void(void *)>> *>(ready[i]);
      void *samples[8] = {};
      dds_sample_info_t info[8];
      int taken;
      while ((taken = dds_take(ear.first, samples, info, 8, 8)) > 0) {
        for (int k = 0; k < taken; k++) {
          if (info[k].valid_data) ear.second(samples[k]);
        }
        dds_return_loan(ear.first, samples, taken);
        memset(samples, 0, sizeof samples);
      }
    }
  }
  return nullptr;
}

int main(int argc, char **argv) {
  Cyclone wire;
  wire.participant = dds_create_participant((dds_domainid_t)std::stoi(argv[argc - 1]), NULL, NULL);
  if (wire.participant < 0) {
    tell("error participant ", dds_strretcode(wire.participant));
    return 1;
  }
  wire.waitset = dds_create_waitset(wire.participant);
  Server server(wire);
  Client client(wire);
  pthread_t worker;
  pthread_create(&worker, NULL, work, &wire);
  tell("ready");
  obey(client, [&](bool serves) {
    if (serves) wire.serve(server);
    else wire.dial(client);
    tell("made");
  });
  // The worker may be in the middle of something: the process ends without it.
  _exit(0);
}

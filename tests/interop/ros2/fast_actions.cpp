// An action server and client on Fast DDS: action_logic.hpp says what it is told and prints.
#include "action_logic.hpp"
#include "actionsPubSubTypes.h"
#include <fastdds/dds/domain/DomainParticipant.hpp>
#include <fastdds/dds/domain/DomainParticipantFactory.hpp>
#include <fastdds/dds/publisher/DataWriter.hpp>
#include <fastdds/dds/publisher/DataWriterListener.hpp>
#include <fastdds/dds/publisher/Publisher.hpp>
#include <fastdds/dds/subscriber/DataReader.hpp>
#include <fastdds/dds/subscriber/DataReaderListener.hpp>
#include <fastdds/dds/subscriber/SampleInfo.hpp>
#include <fastdds/dds/subscriber/Subscriber.hpp>
#include <fastdds/rtps/transport/UDPv4TransportDescriptor.h>
#include <memory>

using namespace eprosima::fastdds::dds;
using eprosima::fastrtps::rtps::WriteParams;
using namespace example_interfaces::action::dds_;
using action_msgs::msg::dds_::GoalInfo_;
using action_msgs::msg::dds_::GoalStatus_;
using action_msgs::msg::dds_::GoalStatusArray_;
using action_msgs::srv::dds_::CancelGoal_Request_;
using action_msgs::srv::dds_::CancelGoal_Response_;

struct Fast : Wire {
  DomainParticipant *participant;
  Publisher *publisher;
  Subscriber *subscriber;
  DataWriter *goalWriter = nullptr, *resultWriter = nullptr, *cancelWriter = nullptr;
  DataWriter *feedbackWriter = nullptr, *statusWriter = nullptr;
  DataReader *goalReader = nullptr, *resultReader = nullptr, *cancelReader = nullptr;
  std::vector<std::unique_ptr<DataReaderListener>> ears;
  struct Matches : DataWriterListener {
    void on_publication_matched(DataWriter *, const PublicationMatchedStatus &s) override {
      tell("matched ", s.current_count);
    }
  } matches;

  template <typename Q> static void policies(Q &q, bool state) {
    q.reliability().kind = RELIABLE_RELIABILITY_QOS;
    q.reliability().max_blocking_time = eprosima::fastrtps::Duration_t(10, 0);
    q.durability().kind = state ? TRANSIENT_LOCAL_DURABILITY_QOS : VOLATILE_DURABILITY_QOS;
    q.history().kind = KEEP_LAST_HISTORY_QOS;
    q.history().depth = state ? 1 : 10;
    q.endpoint().history_memory_policy =
        eprosima::fastrtps::rtps::PREALLOCATED_WITH_REALLOC_MEMORY_MODE;
  }
  template <typename Type> Topic *topic(const char *name) {
    TypeSupport type(new Type());
    type.register_type(participant);
    return participant->create_topic(name, type.get_type_name(), TOPIC_QOS_DEFAULT);
  }
  template <typename Type> DataWriter *writer(const char *name, bool state = false) {
    DataWriterQos q = DATAWRITER_QOS_DEFAULT;
    policies(q, state);
    q.publish_mode().kind = ASYNCHRONOUS_PUBLISH_MODE;
    return publisher->create_datawriter(topic<Type>(name), q, &matches);
  }
  template <typename Value> struct Ear : DataReaderListener {
    std::function<void(DataReader *, Value &, SampleInfo &)> heard;
    void on_subscription_matched(DataReader *, const SubscriptionMatchedStatus &s) override {
      tell("matched ", s.current_count);
    }
    void on_data_available(DataReader *reader) override {
      Value value;
      SampleInfo info;
      while (reader->take_next_sample(&value, &info) == ReturnCode_t::RETCODE_OK) {
        if (info.valid_data) heard(reader, value, info);
      }
    }
  };
  template <typename Value, typename Type>
  DataReader *reader(const char *name, std::function<void(DataReader *, Value &, SampleInfo &)> heard,
                     bool state = false) {
    auto ear = std::make_unique<Ear<Value>>();
    ear->heard = heard;
    DataReaderQos q = DATAREADER_QOS_DEFAULT;
    policies(q, state);
    auto *made = subscriber->create_datareader(topic<Type>(name), q, ear.get());
    ears.push_back(std::move(ear));
    return made;
  }

  // rmw_fastrtps: a request names the reader of its reply; a reply names that, and the number.
  static Ticket ticketOf(const SampleInfo &info) {
    auto asked = info.related_sample_identity.writer_guid();
    auto guid = asked != eprosima::fastrtps::rtps::GUID_t::unknown() ? asked
                                                                     : info.sample_identity.writer_guid();
    Ticket ticket;
    memcpy(ticket.who.data(), guid.guidPrefix.value, 12);
    memcpy(ticket.who.data() + 12, guid.entityId.value, 4);
    ticket.number = (int64_t)info.sample_identity.sequence_number().to64long();
    return ticket;
  }
  template <typename Value> static void reply(DataWriter *writer, const Ticket &to, Value &value) {
    WriteParams params;
    auto &related = params.related_sample_identity();
    memcpy(related.writer_guid().guidPrefix.value, to.who.data(), 12);
    memcpy(related.writer_guid().entityId.value, to.who.data() + 12, 4);
    related.sequence_number().high = (int32_t)(to.number >> 32);
    related.sequence_number().low = (uint32_t)to.number;
    if (!writer->write(&value, params)) tell("error reply");
  }
  template <typename Value> static int64_t ask(DataWriter *writer, DataReader *replies, Value &value) {
    WriteParams params;
    params.related_sample_identity().writer_guid(replies->guid());
    if (!writer->write(&value, params)) tell("error ask");
    return (int64_t)params.sample_identity().sequence_number().to64long();
  }
  static bool mine(DataReader *reader, const SampleInfo &info) {
    return info.related_sample_identity.writer_guid() == reader->guid();
  }
  static int64_t numberOf(const SampleInfo &info) {
    return (int64_t)info.related_sample_identity.sequence_number().to64long();
  }

  void replyGoal(const Ticket &to, bool accepted) override {
    Fibonacci_SendGoal_Response_ r;
    r.accepted(accepted);
    r.stamp().sec(7);
    reply(goalWriter, to, r);
  }
  void replyResult(const Ticket &to, int status, const std::vector<int> &sequence) override {
    Fibonacci_GetResult_Response_ r;
    r.status((uint8_t)status);
    r.result().numbers(sequence);
    reply(resultWriter, to, r);
  }
  void replyCancel(const Ticket &to, int code, const std::vector<Id> &ids) override {
    CancelGoal_Response_ r;
    r.return_code((uint8_t)code);
    for (auto &id : ids) {
      GoalInfo_ info;
      info.goal_id().uuid(id);
      r.goals_canceling().push_back(info);
    }
    reply(cancelWriter, to, r);
  }
  void feedback(const Id &id, const std::vector<int> &sequence) override {
    Fibonacci_FeedbackMessage_ f;
    f.goal_id().uuid(id);
    f.feedback().numbers(sequence);
    if (!feedbackWriter->write(&f)) tell("error feedback");
  }
  void status(const std::vector<GoalNote> &list) override {
    GoalStatusArray_ all;
    for (auto &note : list) {
      GoalStatus_ one;
      one.goal_info().goal_id().uuid(note.id);
      one.status((uint8_t)note.status);
      all.status_list().push_back(one);
    }
    if (!statusWriter->write(&all)) tell("error status");
  }
  int64_t askGoal(const Id &id, int order) override {
    Fibonacci_SendGoal_Request_ r;
    r.goal_id().uuid(id);
    r.goal().order(order);
    return ask(goalWriter, goalReader, r);
  }
  int64_t askResult(const Id &id) override {
    Fibonacci_GetResult_Request_ r;
    r.goal_id().uuid(id);
    return ask(resultWriter, resultReader, r);
  }
  int64_t askCancel(const Id &id) override {
    CancelGoal_Request_ r;
    r.goal_info().goal_id().uuid(id);
    return ask(cancelWriter, cancelReader, r);
  }

  void serve(Server &server) {
    goalWriter = writer<Fibonacci_SendGoal_Response_PubSubType>("rr/fibonacci/_action/send_goalReply");
    resultWriter = writer<Fibonacci_GetResult_Response_PubSubType>("rr/fibonacci/_action/get_resultReply");
    cancelWriter = writer<action_msgs::srv::dds_::CancelGoal_Response_PubSubType>(
        "rr/fibonacci/_action/cancel_goalReply");
    feedbackWriter = writer<Fibonacci_FeedbackMessage_PubSubType>("rt/fibonacci/_action/feedback");
    statusWriter = writer<action_msgs::msg::dds_::GoalStatusArray_PubSubType>(
        "rt/fibonacci/_action/status", true);
    reader<Fibonacci_SendGoal_Request_, Fibonacci_SendGoal_Request_PubSubType>(
        "rq/fibonacci/_action/send_goalRequest", [&](DataReader *, auto &r, SampleInfo &info) {
          server.onGoal(ticketOf(info), r.goal_id().uuid(), r.goal().order());
        });
    reader<Fibonacci_GetResult_Request_, Fibonacci_GetResult_Request_PubSubType>(
        "rq/fibonacci/_action/get_resultRequest", [&](DataReader *, auto &r, SampleInfo &info) {
          server.onResult(ticketOf(info), r.goal_id().uuid());
        });
    reader<CancelGoal_Request_, action_msgs::srv::dds_::CancelGoal_Request_PubSubType>(
        "rq/fibonacci/_action/cancel_goalRequest", [&](DataReader *, auto &r, SampleInfo &info) {
          server.onCancel(ticketOf(info), r.goal_info().goal_id().uuid());
        });
  }
  void dial(Client &client) {
    goalReader = reader<Fibonacci_SendGoal_Response_, Fibonacci_SendGoal_Response_PubSubType>(
        "rr/fibonacci/_action/send_goalReply", [&](DataReader *from, auto &r, SampleInfo &info) {
          if (mine(from, info)) client.onGoal(numberOf(info), r.accepted());
        });
    resultReader = reader<Fibonacci_GetResult_Response_, Fibonacci_GetResult_Response_PubSubType>(
        "rr/fibonacci/_action/get_resultReply", [&](DataReader *from, auto &r, SampleInfo &info) {
          if (mine(from, info)) client.onResult(numberOf(info), r.status(), r.result().numbers());
        });
    cancelReader = reader<CancelGoal_Response_, action_msgs::srv::dds_::CancelGoal_Response_PubSubType>(
        "rr/fibonacci/_action/cancel_goalReply", [&](DataReader *from, auto &r, SampleInfo &info) {
          if (mine(from, info)) client.onCancel(numberOf(info), r.return_code(), r.goals_canceling().size());
        });
    reader<Fibonacci_FeedbackMessage_, Fibonacci_FeedbackMessage_PubSubType>(
        "rt/fibonacci/_action/feedback", [&](DataReader *, auto &f, SampleInfo &) {
          client.onFeedback(f.goal_id().uuid(), f.feedback().numbers().size());
        });
    reader<GoalStatusArray_, action_msgs::msg::dds_::GoalStatusArray_PubSubType>(
        "rt/fibonacci/_action/status",
        [&](DataReader *, auto &all, SampleInfo &) {
          for (auto &one : all.status_list()) client.onStatus(one.goal_info().goal_id().uuid(), one.status());
        },
        true);
    goalWriter = writer<Fibonacci_SendGoal_Request_PubSubType>("rq/fibonacci/_action/send_goalRequest");
    resultWriter = writer<Fibonacci_GetResult_Request_PubSubType>("rq/fibonacci/_action/get_resultRequest");
    cancelWriter = writer<action_msgs::srv::dds_::CancelGoal_Request_PubSubType>(
        "rq/fibonacci/_action/cancel_goalRequest");
  }
};

int main(int argc, char **argv) {
  // Over UDP on loopback alone: no shared memory, no other interface.
  auto udp = std::make_shared<eprosima::fastdds::rtps::UDPv4TransportDescriptor>();
  udp->interfaceWhiteList.push_back("127.0.0.1");
  DomainParticipantQos qos;
  qos.transport().use_builtin_transports = false;
  qos.transport().user_transports.push_back(udp);
  Fast wire;
  wire.participant =
      DomainParticipantFactory::get_instance()->create_participant(std::stoi(argv[argc - 1]), qos);
  if (!wire.participant) {
    tell("error participant");
    return 1;
  }
  wire.publisher = wire.participant->create_publisher(PUBLISHER_QOS_DEFAULT);
  wire.subscriber = wire.participant->create_subscriber(SUBSCRIBER_QOS_DEFAULT);
  Server server(wire);
  Client client(wire);
  tell("ready");
  obey(client, [&](bool serves) {
    if (serves) wire.serve(server);
    else wire.dial(client);
    tell("made");
  });
  wire.participant->delete_contained_entities();
  DomainParticipantFactory::get_instance()->delete_participant(wire.participant);
  return 0;
}

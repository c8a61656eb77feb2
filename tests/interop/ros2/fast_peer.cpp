// A program on Fast DDS that does what its input says, one line at a time, and prints what happens.
// The same words as cyclone_peer.c; peers.ts explains them.
#include "typesPubSubTypes.h"
#include <cstdio>
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
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>

using namespace eprosima::fastdds::dds;
using std_msgs::msg::dds_::String_;
using std_msgs::msg::dds_::WString_;
using test_msgs::msg::dds_::Bytes_;
using Request = example_interfaces::srv::dds_::AddTwoInts_Request_;
using Response = example_interfaces::srv::dds_::AddTwoInts_Response_;
using eprosima::fastrtps::rtps::WriteParams;
using test_msgs::msg::dds_::Everything_;
using test_msgs::msg::dds_::Keyed_;

static std::mutex out;
template <typename... Words> void say(const Words &...words) {
  std::lock_guard<std::mutex> lock(out);
  (std::cout << ... << words) << std::endl;
}

static unsigned checksum(const unsigned char *bytes, size_t n) {
  unsigned sum = 0;
  for (size_t i = 0; i < n; i++) sum = sum * 31 + bytes[i];
  return sum;
}

struct Endpoint : DataWriterListener, DataReaderListener {
  std::string name, kind;
  DataWriter *writer = nullptr;
  DataReader *reader = nullptr;
  Endpoint *echo = nullptr;

  void on_publication_matched(DataWriter *, const PublicationMatchedStatus &s) override {
    say("matched ", name, " ", s.current_count);
  }
  void on_subscription_matched(DataReader *, const SubscriptionMatchedStatus &s) override {
    say("matched ", name, " ", s.current_count);
  }
  void on_offered_incompatible_qos(DataWriter *, const OfferedIncompatibleQosStatus &s) override {
    say("incompatible ", name, " ", s.last_policy_id);
  }
  void on_requested_incompatible_qos(DataReader *, const RequestedIncompatibleQosStatus &s) override {
    say("incompatible ", name, " ", s.last_policy_id);
  }

  void write(unsigned number, size_t size) {
    bool done;
    if (kind == "string") {
      String_ s;
      s.data(std::string(size, 'a' + number % 26));
      done = writer->write(&s);
    } else if (kind == "bytes") {
      Bytes_ b;
      b.number(number);
      b.data().resize(size);
      for (size_t i = 0; i < size; i++) b.data()[i] = (unsigned char)(number * 31 + i * 7 + (i >> 8));
      done = writer->write(&b);
    } else if (kind == "request") {
      Request r;
      r.a(number);
      r.b(size);
      // As rmw_fastrtps: the reader that waits for the reply, and no number.
      WriteParams params;
      params.related_sample_identity().writer_guid(echo->reader->guid());
      done = writer->write(&r, params);
    } else {
      Keyed_ k;
      k.id(number);
      k.value(size);
      done = writer->write(&k);
    }
    if (!done) say("error write");
  }

  template <typename T, typename F> void take(DataReader *r, F tell) {
    T value;
    SampleInfo info;
    while (r->take_next_sample(&value, &info) == ReturnCode_t::RETCODE_OK) {
      if (!info.valid_data) {
        // Fast DDS tells the instance by its handle: the key, big-endian.
        unsigned id = 0;
        for (int i = 0; i < 4; i++) id = id << 8 | info.instance_handle.value[i];
        say("ended ", name, " ", id, " ",
            info.instance_state == NOT_ALIVE_DISPOSED_INSTANCE_STATE ? "disposed" : "unregistered");
      } else if (echo) {
        if (!echo->writer->write(&value)) say("error echo");
      } else {
        tell(value);
      }
    }
  }

  void take_services(DataReader *r) {
    SampleInfo info;
    Request request;
    Response response;
    if (kind == "request") {
      while (r->take_next_sample(&request, &info) == ReturnCode_t::RETCODE_OK) {
        if (!info.valid_data) continue;
        response.sum(request.a() + request.b());
        WriteParams params;
        params.related_sample_identity() = info.sample_identity;
        auto asked = info.related_sample_identity.writer_guid();
        if (asked != eprosima::fastrtps::rtps::GUID_t::unknown())
          params.related_sample_identity().writer_guid(asked);
        if (!echo->writer->write(&response, params)) say("error reply");
      }
      return;
    }
    while (r->take_next_sample(&response, &info) == ReturnCode_t::RETCODE_OK) {
      if (!info.valid_data || info.related_sample_identity.writer_guid() != r->guid()) continue;
      say("sum ", name, " ", info.related_sample_identity.sequence_number().to64long(), " ",
          response.sum());
    }
  }

  void on_data_available(DataReader *r) override {
    if (kind == "request" || kind == "response") return take_services(r);
    if (kind == "string") {
      take<String_>(r, [&](String_ &s) {
        say("got ", name, " ", s.data().size(), " ",
            checksum((const unsigned char *)s.data().data(), s.data().size()));
      });
    } else if (kind == "bytes") {
      take<Bytes_>(r, [&](Bytes_ &b) {
        say("got ", name, " ", b.number(), " ", b.data().size(), " ",
            checksum(b.data().data(), b.data().size()));
      });
    } else if (kind == "wide") {
      take<WString_>(r, [&](WString_ &s) { say("got ", name, " ", s.data().size()); });
    } else if (kind == "everything") {
      take<Everything_>(r, [](Everything_ &) {}); // For echoes only.
    } else {
      take<Keyed_>(r, [&](Keyed_ &k) { say("got ", name, " ", k.id(), " ", k.value()); });
    }
  }
};

template <typename Q> void policies(Q &q, bool reliable, bool transient, int depth) {
  q.reliability().kind = reliable ? RELIABLE_RELIABILITY_QOS : BEST_EFFORT_RELIABILITY_QOS;
  q.reliability().max_blocking_time = eprosima::fastrtps::Duration_t(10, 0);
  q.durability().kind = transient ? TRANSIENT_LOCAL_DURABILITY_QOS : VOLATILE_DURABILITY_QOS;
  q.history().kind = depth ? KEEP_LAST_HISTORY_QOS : KEEP_ALL_HISTORY_QOS;
  q.history().depth = depth ? depth : 1;
  q.endpoint().history_memory_policy =
      eprosima::fastrtps::rtps::PREALLOCATED_WITH_REALLOC_MEMORY_MODE;
}

int main(int argc, char **argv) {
  // Over UDP on loopback alone: no shared memory, no other interface.
  auto udp = std::make_shared<eprosima::fastdds::rtps::UDPv4TransportDescriptor>();
  udp->interfaceWhiteList.push_back("127.0.0.1");
  DomainParticipantQos qos;
  qos.transport().use_builtin_transports = false;
  qos.transport().user_transports.push_back(udp);
  auto *participant =
      DomainParticipantFactory::get_instance()->create_participant(std::stoi(argv[argc - 1]), qos);
  if (!participant) {
    say("error participant");
    return 1;
  }
  std::map<std::string, TypeSupport> types = {
      {"string", TypeSupport(new std_msgs::msg::dds_::String_PubSubType())},
      {"wide", TypeSupport(new std_msgs::msg::dds_::WString_PubSubType())},
      {"bytes", TypeSupport(new test_msgs::msg::dds_::Bytes_PubSubType())},
      {"request", TypeSupport(new example_interfaces::srv::dds_::AddTwoInts_Request_PubSubType())},
      {"response", TypeSupport(new example_interfaces::srv::dds_::AddTwoInts_Response_PubSubType())},
      {"everything", TypeSupport(new test_msgs::msg::dds_::Everything_PubSubType())},
      {"keyed", TypeSupport(new test_msgs::msg::dds_::Keyed_PubSubType())}};
  for (auto &type : types) type.second.register_type(participant);
  auto *publisher = participant->create_publisher(PUBLISHER_QOS_DEFAULT);
  auto *subscriber = participant->create_subscriber(SUBSCRIBER_QOS_DEFAULT);
  std::map<std::string, std::unique_ptr<Endpoint>> endpoints;
  std::map<std::string, Topic *> topics;
  say("ready");
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string verb, name;
    words >> verb >> name;
    if (verb == "writer" || verb == "reader") {
      std::string topic, kind, echo;
      bool reliable, transient;
      int depth;
      words >> topic >> kind >> reliable >> transient >> depth >> echo;
      auto endpoint = std::make_unique<Endpoint>();
      endpoint->name = name;
      endpoint->kind = kind;
      if (!echo.empty()) endpoint->echo = endpoints[echo].get();
      auto &t = topics[topic];
      if (!t) t = participant->create_topic(topic, types[kind].get_type_name(), TOPIC_QOS_DEFAULT);
      auto *e = (endpoints[name] = std::move(endpoint)).get();
      if (verb == "writer") {
        DataWriterQos q = DATAWRITER_QOS_DEFAULT;
        policies(q, reliable, transient, depth);
        q.writer_data_lifecycle().autodispose_unregistered_instances = false;
        q.publish_mode().kind = ASYNCHRONOUS_PUBLISH_MODE;
        e->writer = publisher->create_datawriter(t, q, e);
      } else {
        DataReaderQos q = DATAREADER_QOS_DEFAULT;
        policies(q, reliable, transient, depth);
        e->reader = subscriber->create_datareader(t, q, e);
      }
      if (e->writer || e->reader) say("made ", name);
      else say("error ", name);
    } else if (verb == "write") {
      unsigned number, times = 1;
      size_t size;
      words >> number >> size >> times;
      for (unsigned i = 0; i < (times ? times : 1); i++) endpoints[name]->write(number + i, size);
    } else if (verb == "dispose" || verb == "unregister") {
      Keyed_ k;
      unsigned id;
      words >> id;
      k.id(id);
      auto *w = endpoints[name]->writer;
      auto done = verb == "dispose" ? w->dispose(&k, HANDLE_NIL) : w->unregister_instance(&k, HANDLE_NIL);
      if (done != ReturnCode_t::RETCODE_OK) say("error ", verb);
    } else if (verb == "say") {
      say(name);
    } else if (verb == "close") {
      auto &e = endpoints[name];
      if (e->writer) publisher->delete_datawriter(e->writer);
      if (e->reader) subscriber->delete_datareader(e->reader);
    }
  }
  participant->delete_contained_entities();
  DomainParticipantFactory::get_instance()->delete_participant(participant);
  return 0;
}

// What it went through: files, disk, pipes, zero-copy sends, loops and threads.
#include "metrics/text.h"

namespace pagewire::metrics {

namespace {

double seconds(std::uint64_t us) {
  return static_cast<double>(us) / 1e6;
}

Totals of_one(const WorkerMetrics& worker) {
  const WorkerMetrics* const alone = &worker;
  return totals({&alone, 1});
}

/// One series a worker.
template <class Value>
void by_worker(std::string& text, std::string_view name, Workers workers, Value value) {
  for (std::size_t worker = 0; worker < workers.size(); ++worker) {
    fmt::format_to(std::back_inserter(text), "{}{{worker=\"{}\"}} {}\n", name, worker,
                   value(*workers[worker]));
  }
}

}  // namespace

void ThreadMetrics::ask_cpu() {
  const sys::CpuTime cpu = sys::thread_cpu_time();
  cpu_user_us.set(cpu.user_us);
  cpu_system_us.set(cpu.system_us);
}

std::string threads_text(std::span<const ThreadMetrics* const> workers) {
  std::string text;
  constexpr std::string_view name = "pagewire_worker_cpu_seconds_total";
  family(text, name, "counter", "CPU time of the worker's thread, as of its last tick.");
  for (std::size_t worker = 0; worker < workers.size(); ++worker) {
    const ThreadMetrics& thread = *workers[worker];
    fmt::format_to(std::back_inserter(text),
                   "{0}{{worker=\"{1}\",mode=\"user\"}} {2}\n"
                   "{0}{{worker=\"{1}\",mode=\"system\"}} {3}\n",
                   name, worker, seconds(thread.cpu_user_us.value()),
                   seconds(thread.cpu_system_us.value()));
  }
  const auto each = [&](const Family& of, Counter ThreadMetrics::*counter) {
    write_family(text, of);
    for (std::size_t worker = 0; worker < workers.size(); ++worker) {
      fmt::format_to(std::back_inserter(text), "{}{{worker=\"{}\"}} {}\n", of.name, worker,
                     (workers[worker]->*counter).value());
    }
  };
  each({"pagewire_worker_wakeups_total", "counter",
        "Rounds of the worker's loop; ten a second are its ticks."},
       &ThreadMetrics::rounds);
  each({"pagewire_worker_events_total", "counter", "Events that those rounds brought."},
       &ThreadMetrics::events);
  return text;
}

void write_cache_and_log(std::string& text, Workers workers) {
  single(text, "pagewire_open_file_cache_hits_total", "counter",
         "Requests answered from an open file.", sum(workers, &WorkerMetrics::cache_hits));
  single(text, "pagewire_open_file_cache_misses_total", "counter",
         "Requests that had to open their file.", sum(workers, &WorkerMetrics::cache_misses));
  single(text, "pagewire_open_file_cache_revalidated_total", "counter",
         "Entries past their validity that stat found unchanged.",
         sum(workers, &WorkerMetrics::cache_revalidated));
  single(text, "pagewire_open_file_cache_entries", "gauge", "Open files held now.",
         sum(workers, &WorkerMetrics::cache_entries));
  single(text, "pagewire_open_file_cache_memory_bytes", "gauge",
         "Bytes of small files held in memory now.",
         sum(workers, &WorkerMetrics::small_body_bytes));
  single(text, "pagewire_readahead_files_total", "counter",
         "Open files whose readahead window was doubled, because they are streamed.",
         sum(workers, &WorkerMetrics::readahead_files));
  single(text, "pagewire_readahead_asked_bytes_total", "counter",
         "Bytes of them that were asked for ahead (--readahead SIZE).",
         sum(workers, &WorkerMetrics::readahead_bytes));
  single(text, "pagewire_log_dropped_total", "counter", "Access log lines that were not written.",
         sum(workers, &WorkerMetrics::log_dropped));
}

void write_zerocopy(std::string& text, Workers workers) {
  single(text, "pagewire_zerocopy_in_flight_bytes", "gauge",
         "Bytes sent with MSG_ZEROCOPY that the kernel has not let go of.",
         sum(workers, &WorkerMetrics::zerocopy_in_flight));
  single(text, "pagewire_zerocopy_sends_total", "counter", "Sends made with MSG_ZEROCOPY.",
         sum(workers, &WorkerMetrics::zerocopy_sends));
  single(text, "pagewire_zerocopy_completions_total", "counter",
         "Of these sends, those that the kernel has let go of.",
         sum(workers, &WorkerMetrics::zerocopy_completed));
  single(text, "pagewire_zerocopy_copied_total", "counter",
         "Of the completed sends, those that the kernel copied after all.",
         sum(workers, &WorkerMetrics::zerocopy_copied));
  single(text, "pagewire_zerocopy_abandoned_total", "counter",
         "Sends whose connection was closed before they completed.",
         sum(workers, &WorkerMetrics::zerocopy_abandoned));
  family(text, "pagewire_zerocopy_fallbacks_total", "counter",
         "Sends made by copying instead: no option or lockable memory (ENOBUFS), or too much in "
         "flight.");
  fmt::format_to(std::back_inserter(text),
                 "pagewire_zerocopy_fallbacks_total{{why=\"enobufs\"}} {}\n"
                 "pagewire_zerocopy_fallbacks_total{{why=\"in-flight-limit\"}} {}\n",
                 sum(workers, &WorkerMetrics::zerocopy_no_buffer),
                 sum(workers, &WorkerMetrics::zerocopy_over_limit));
  single(text, "pagewire_zerocopy_given_up_total", "counter",
         "Connections on which the kernel copied too often, so that the path was given up.",
         sum(workers, &WorkerMetrics::zerocopy_given_up));
}

void write_uring(std::string& text, Workers workers) {
  single(text, "pagewire_uring_notifications_total", "counter",
         "Zero-copy sends whose memory the kernel has let go of.",
         sum(workers, &WorkerMetrics::uring_notifications));
  single(text, "pagewire_uring_copied_notifications_total", "counter",
         "Of these, sends that the kernel copied after all.",
         sum(workers, &WorkerMetrics::uring_copied_notifications));
  single(text, "pagewire_uring_splice_operations_total", "counter",
         "Splices from a file that io_uring was asked for.",
         sum(workers, &WorkerMetrics::uring_splices));
  single(text, "pagewire_uring_without_buffer_total", "counter",
         "Sends that were copied because no registered buffer was free.",
         sum(workers, &WorkerMetrics::uring_without_buffer));
  single(text, "pagewire_uring_buffers_in_flight", "gauge",
         "Registered buffers that the kernel holds now.",
         sum(workers, &WorkerMetrics::uring_buffers_in_flight));
  single(text, "pagewire_uring_operations_in_flight", "gauge",
         "Operations of io_uring without a result now.",
         sum(workers, &WorkerMetrics::uring_operations_in_flight));
}

void write_engine(std::string& text, Workers workers, std::string_view engine) {
  family(text, "pagewire_engine_info", "gauge", "1, with the workers' event loop as a label.");
  fmt::format_to(std::back_inserter(text), "pagewire_engine_info{{engine=\"{}\"}} 1\n",
                 escaped_label(engine));
  single(text, "pagewire_uring_enter_calls_total", "counter",
         "Calls of io_uring_enter by the workers' loops; 0 with epoll.",
         sum(workers, &WorkerMetrics::uring_enters));
  single(text, "pagewire_uring_cq_overflows_total", "counter",
         "Rounds that found the completion queue overflown.",
         sum(workers, &WorkerMetrics::uring_overflows));
  single(text, "pagewire_uring_no_buffers_total", "counter",
         "Receives that found no provided buffer (ENOBUFS) and were begun again.",
         sum(workers, &WorkerMetrics::uring_no_buffers));
}

void write_disk(std::string& text, Workers workers) {
  const auto total = [&](Counter DiskMetrics::*counter) {
    return sum(workers, [=](const WorkerMetrics& w) -> const Counter& { return w.disk.*counter; });
  };
  family(text, "pagewire_disk_jobs_total", "counter", "What disk helpers were asked for.");
  for (std::size_t kind = 0; kind < DiskMetrics::kinds.size(); ++kind) {
    fmt::format_to(
        std::back_inserter(text), "pagewire_disk_jobs_total{{kind=\"{}\"}} {}\n",
        DiskMetrics::kinds[kind],
        sum(workers, [=](const WorkerMetrics& w) -> const Counter& { return w.disk.jobs[kind]; }));
  }
  single(text, "pagewire_disk_jobs_dropped_total", "counter",
         "Jobs that were left out: their clients had gone, or too much was being read ahead.",
         total(&DiskMetrics::dropped));
  single(text, "pagewire_disk_jobs_pending", "gauge", "Jobs of disk helpers, waiting or under way.",
         total(&DiskMetrics::pending));
  single(text, "pagewire_disk_queue_depth", "gauge", "Jobs that wait for a disk helper.",
         total(&DiskMetrics::queued));
  single(text, "pagewire_disk_fetched_bytes_total", "counter",
         "Bytes that disk helpers read because a response needed them.",
         total(&DiskMetrics::fetched_bytes));
  single(text, "pagewire_disk_errors_total", "counter", "Fetches that the disk failed.",
         total(&DiskMetrics::errors));
  constexpr std::string_view wait = "pagewire_disk_wait_seconds";
  family(text, wait, "histogram", "From asking for pages or a name until they were there.");
  write_histogram(text, wait, workers,
                  [](const WorkerMetrics& w) -> const TimeHistogram& { return w.disk.wait_time; });
  single(text, "pagewire_residency_looks_total", "counter", "Looks at the page cache before steps.",
         total(&DiskMetrics::looks));
  single(text, "pagewire_residency_unseen_total", "counter",
         "Steps over pages that were fetched and yet not seen in the page cache.",
         total(&DiskMetrics::unseen));
  single(text, "pagewire_residency_asked_bytes_total", "counter",
         "Bytes of files that these looks were at.", total(&DiskMetrics::asked_bytes));
  single(text, "pagewire_residency_found_bytes_total", "counter",
         "Of these, the bytes in memory before the first that was not.",
         total(&DiskMetrics::found_bytes));
}

void write_pipes(std::string& text, Workers workers) {
  single(text, "pagewire_pipes_idle", "gauge", "Pipes that wait in the workers' pools.",
         sum(workers, &WorkerMetrics::pipes_idle));
  single(text, "pagewire_pipes_made_total", "counter",
         "Pipes that were made because the pool had none.",
         sum(workers, &WorkerMetrics::pipes_made));
  single(text, "pagewire_pipes_reused_total", "counter", "Pipes that came out of a pool.",
         sum(workers, &WorkerMetrics::pipes_reused));
}

void write_workers(std::string& text, Workers workers) {
  const auto each = [&](std::string_view name, std::string_view type, std::string_view help,
                        auto value) {
    family(text, name, type, help);
    by_worker(text, name, workers, value);
  };
  std::vector<const ThreadMetrics*> threads;
  for (const WorkerMetrics* const worker : workers) threads.push_back(&worker->thread);
  text += threads_text(threads);
  each("pagewire_worker_requests_total", "counter", "Responses sent, by worker.",
       [](const WorkerMetrics& worker) { return of_one(worker).requests; });
  each("pagewire_worker_sent_bytes_total", "counter", "Bytes that sockets took, by worker.",
       [](const WorkerMetrics& worker) { return of_one(worker).bytes; });
  each("pagewire_worker_connections_open", "gauge", "Connections open now, by worker.",
       [](const WorkerMetrics& worker) { return worker.connections_open.value(); });
}

}  // namespace pagewire::metrics

#include "thread_pool.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace sds3d {
namespace {

class Pool {
public:
    // One job at a time; callers on other threads wait here.
    void run(int num_threads, int num_tasks, void (*task)(void*, int), void* context) {
        std::lock_guard<std::mutex> turn(turn_);
        grow(num_threads - 1);
        const int helpers = num_threads - 1 < num_workers_ ? num_threads - 1 : num_workers_;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            task_ = task;
            context_ = context;
            num_tasks_ = num_tasks;
            next_.store(0, std::memory_order_relaxed);
            seats_ = helpers;
        }
        for (int i = 0; i < helpers; ++i) wake_.notify_one();
        work(task, context, num_tasks);
        std::unique_lock<std::mutex> lock(mutex_);
        seats_ = 0;  // a worker that wakes up from here on finds nothing to do
        idle_.wait(lock, [&] { return running_ == 0; });
    }

private:
    void grow(int wanted) {
        while (num_workers_ < wanted) {
            try {
                std::thread([this] { loop(); }).detach();
            } catch (const std::system_error&) {  // the system grants no more threads: the caller does the work
                break;
            }
            ++num_workers_;
        }
    }

    void loop() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return seats_ > 0; });
            --seats_;
            ++running_;
            auto task = task_;
            auto context = context_;
            int num_tasks = num_tasks_;
            lock.unlock();
            work(task, context, num_tasks);
            lock.lock();
            if (--running_ == 0) idle_.notify_one();
        }
    }

    void work(void (*task)(void*, int), void* context, int num_tasks) {
        for (int i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < num_tasks;) task(context, i);
    }

    std::mutex turn_, mutex_;
    std::condition_variable wake_, idle_;
    std::atomic<int> next_{0};
    void (*task_)(void*, int) = nullptr;
    void* context_ = nullptr;
    int num_tasks_ = 0, seats_ = 0, running_ = 0, num_workers_ = 0;
};

// Never destroyed: its threads may outlive main. A forked child has none of them, so it gets a new pool.
Pool& pool() {
    static std::mutex mutex;
    static Pool* current = nullptr;
    static pid_t owner = 0;
    std::lock_guard<std::mutex> lock(mutex);
    if (owner != getpid()) {
        current = new Pool;
        owner = getpid();
    }
    return *current;
}

}  // namespace

void parallel_for(int num_threads, int num_tasks, void (*task)(void*, int), void* context) {
    if (num_threads > num_tasks) num_threads = num_tasks;
    if (num_threads <= 1) {
        for (int i = 0; i < num_tasks; ++i) task(context, i);
        return;
    }
    pool().run(num_threads, num_tasks, task, context);
}

}  // namespace sds3d

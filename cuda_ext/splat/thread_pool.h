// Runs numbered tasks on a few persistent threads that sleep between calls.
#pragma once

namespace sds3d {

// Calls task(context, i) once for each i < num_tasks, on at most num_threads threads including the caller's.
// Which thread runs which task is not fixed, so tasks must write to disjoint places.
void parallel_for(int num_threads, int num_tasks, void (*task)(void* context, int index), void* context);

template <class F>
void parallel_for(int num_threads, int num_tasks, F&& body) {
    parallel_for(num_threads, num_tasks, [](void* context, int index) { (*static_cast<F*>(context))(index); }, &body);
}

}  // namespace sds3d

//! Rate, errors and durations per service and operation.

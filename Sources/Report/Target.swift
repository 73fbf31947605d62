import Results

/// A figure that a report should show, and what it shows.
public struct Target: Sendable, Equatable {
    public enum Bound: Sendable, Equatable {
        case atMost(Double)
        case atLeast(Double)
    }

    public enum Unit: Sendable, Equatable {
        /// Times the native figure, or times faster.
        case ratio
        case cycles
        case nanoseconds
        case perSecond
    }

    public var what: String
    public var bound: Bound
    public var unit: Unit
    public var measured: Figure

    /// Nil where nothing was measured.
    public var isReached: Bool? {
        measured.value.map { value in
            switch bound {
            case .atMost(let limit): value <= limit
            case .atLeast(let limit): value >= limit
            }
        }
    }

    var boundText: String {
        switch bound {
        case .atMost(let limit): "≤ " + text(limit)
        case .atLeast(let limit): "≥ " + text(limit)
        }
    }

    var measuredText: String { measured.value.map(text) ?? "–" }

    private func text(_ value: Double) -> String {
        switch unit {
        case .ratio: NumberText.ratio(value)
        case .cycles: NumberText.ratio(value) + " cycles"
        case .nanoseconds: NumberText.time(nanoseconds: value)
        case .perSecond: NumberText.count(value) + "/s"
        }
    }
}

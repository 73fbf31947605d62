/// Tukey's fences (Exploratory Data Analysis, 1977): 1.5 and 3 interquartile ranges beyond the quartiles, the
/// classification that Criterion reports. Outliers are counted and kept.
public struct TukeyFences: Sendable, Equatable {
    public var outerLower: Double
    public var innerLower: Double
    public var innerUpper: Double
    public var outerUpper: Double

    public init(_ observations: Observations) {
        let first = observations.quantile(0.25)
        let third = observations.quantile(0.75)
        let range = third - first
        outerLower = first - 3 * range
        innerLower = first - 1.5 * range
        innerUpper = third + 1.5 * range
        outerUpper = third + 3 * range
    }

    public enum Place: Sendable, Equatable {
        case lowSevere, lowMild, inside, highMild, highSevere
    }

    public func place(of value: Double) -> Place {
        if value < outerLower { return .lowSevere }
        if value < innerLower { return .lowMild }
        if value > outerUpper { return .highSevere }
        if value > innerUpper { return .highMild }
        return .inside
    }
}

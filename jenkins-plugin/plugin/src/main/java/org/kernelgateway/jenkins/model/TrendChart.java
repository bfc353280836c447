package org.kernelgateway.jenkins.model;

import java.util.List;
import java.util.Locale;

/**
 * A metric over builds as an SVG picture, drawn on the server: it needs no script, so no content security policy stops
 * it. Colours come from the classes of kernel-gateway.css, which follow Jenkins' theme.
 */
public final class TrendChart {
    /** One build's value; {@code status} is the run's, {@code href} the build's address. */
    public static final class Point {
        final int build;
        final double value;
        final String status;
        final String href;

        public Point(int build, double value, String status, String href) {
            this.build = build;
            this.value = value;
            this.status = status;
            this.href = href;
        }

        public int getBuild() {
            return build;
        }

        public double getValue() {
            return value;
        }

        public String getStatus() {
            return status;
        }
    }

    private static final int LEFT = 64;
    private static final int RIGHT = 14;
    private static final int TOP = 12;
    private static final int BOTTOM = 26;
    private static final int GRID_LINES = 5;
    private static final int LABEL_WIDTH = 44;

    private final List<Point> points;
    private final int width;
    private final int height;
    private final double low;
    private final double high;

    /**
     * @param points in the order of their builds; may be empty
     * @param width of the picture in pixels; it scales with its container
     */
    public TrendChart(List<Point> points, int width, int height) {
        this.points = List.copyOf(points);
        this.width = width;
        this.height = height;
        double least = points.stream().mapToDouble(point -> point.value).min().orElse(0);
        double most = points.stream().mapToDouble(point -> point.value).max().orElse(1);
        // A line of equal values runs through the middle.
        double margin = most > least ? (most - least) * 0.08 : Math.max(Math.abs(most) * 0.1, 1e-9);
        // Nor does an axis go below zero for values that never do.
        low = least >= 0 ? Math.max(0, least - margin) : least - margin;
        high = most + margin;
    }

    /** The picture; {@code title} is what a screen reader says of it. */
    public String svg(String title) {
        StringBuilder out = new StringBuilder(1024);
        out.append(String.format(
                Locale.ROOT,
                "<svg class=\"kg-trend\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" "
                        + "xmlns=\"http://www.w3.org/2000/svg\"><title>%s</title>",
                width,
                height,
                width,
                height,
                escape(title)));
        grid(out);
        line(out);
        for (int index = 0; index < points.size(); index++) {
            dot(out, index);
        }
        labels(out);
        return out.append("</svg>").toString();
    }

    private void grid(StringBuilder out) {
        double step = step();
        double first = Math.ceil(low / step);
        for (int count = 0; count <= GRID_LINES && (first + count) * step <= high; count++) {
            double value = (first + count) * step;
            double y = y(value);
            out.append(String.format(
                    Locale.ROOT,
                    "<line class=\"kg-grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                            + "<text class=\"kg-label\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
                    LEFT,
                    width - RIGHT,
                    y,
                    y,
                    LEFT - 6,
                    y + 4,
                    Numbers.shortText(value)));
        }
    }

    /** Between two lines of the grid: 1, 2 or 5 times a power of ten, for few lines with short numbers. */
    private double step() {
        double least = (high - low) / GRID_LINES;
        double power = Math.pow(10, Math.floor(Math.log10(least)));
        for (int factor : new int[] {1, 2, 5}) {
            if (factor * power >= least) {
                return factor * power;
            }
        }
        return 10 * power;
    }

    private void line(StringBuilder out) {
        if (points.size() < 2) {
            return;
        }
        out.append("<polyline class=\"kg-line\" points=\"");
        for (int index = 0; index < points.size(); index++) {
            out.append(String.format(Locale.ROOT, "%.1f,%.1f ", x(index), y(points.get(index).value)));
        }
        out.append("\"/>");
    }

    private void dot(StringBuilder out, int index) {
        Point point = points.get(index);
        String circle = String.format(
                Locale.ROOT,
                "<circle class=\"kg-dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>#%d: %s (%s)</title></circle>",
                dotClass(point.status),
                x(index),
                y(point.value),
                point.build,
                Numbers.shortText(point.value),
                escape(point.status));
        if (point.href == null) {
            out.append(circle);
        } else {
            out.append("<a href=\"").append(escape(point.href)).append("\">").append(circle).append("</a>");
        }
    }

    private void labels(StringBuilder out) {
        int room = Math.max(1, (width - LEFT - RIGHT) / LABEL_WIDTH);
        int every = Math.max(1, (points.size() + room - 1) / room);
        for (int index = points.size() - 1; index >= 0; index -= every) {
            out.append(String.format(
                    Locale.ROOT,
                    "<text class=\"kg-label\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">#%d</text>",
                    x(index),
                    height - 8,
                    points.get(index).build));
        }
    }

    private static String dotClass(String status) {
        switch (status == null ? "" : status) {
            case "succeeded":
                return "kg-succeeded";
            case "unstable":
                return "kg-unstable";
            default:
                return "kg-failed";
        }
    }

    private double x(int index) {
        double room = width - LEFT - RIGHT - 16;
        return LEFT + 8 + (points.size() < 2 ? room / 2 : room * index / (points.size() - 1));
    }

    private double y(double value) {
        return TOP + (height - TOP - BOTTOM) * (high - value) / (high - low);
    }

    static String escape(String text) {
        return text.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;")
                .replace("'", "&#39;");
    }
}

package org.kernelgateway.jenkins.model;

import java.math.BigDecimal;
import java.math.MathContext;

/** Numbers as people read them. */
public final class Numbers {
    private Numbers() {}

    /** Four significant digits, never in a server's own locale: 0.9778, 1234, 1.2e-7; an empty text for null. */
    public static String shortText(Double value) {
        if (value == null) {
            return "";
        }
        if (value == 0) {
            return "0";
        }
        BigDecimal rounded = new BigDecimal(value).round(new MathContext(4)).stripTrailingZeros();
        double size = Math.abs(value);
        if (size < 1e-4 || size >= 1e9) {
            int exponent = rounded.precision() - rounded.scale() - 1;
            return rounded.movePointLeft(exponent).stripTrailingZeros().toPlainString() + "e" + exponent;
        }
        if (size >= 1e4) {
            rounded = new BigDecimal(value).setScale(0, java.math.RoundingMode.HALF_UP);
        }
        return rounded.toPlainString();
    }

    /** 0.4 s, 12 s, 3 min 5 s, 2 h 10 min. */
    public static String duration(Double seconds) {
        if (seconds == null) {
            return "";
        }
        if (seconds < 10) {
            return shortText(Math.round(seconds * 10) / 10.0) + " s";
        }
        long whole = Math.round(seconds);
        if (whole < 60) {
            return whole + " s";
        }
        if (whole < 3600) {
            return whole / 60 + " min " + whole % 60 + " s";
        }
        return whole / 3600 + " h " + whole % 3600 / 60 + " min";
    }
}

-- Daily figures of a made-up shop, computed by DuckDB in memory; DATABASE_URL names another database.
WITH orders AS (
    SELECT
        DATE '2026-01-01' + CAST(n % 7 AS INTEGER) AS day,
        10 + (n * 37) % 90 AS amount
    FROM range(1000) AS numbers(n)
)
SELECT day, count(*) AS orders, sum(amount) AS revenue, round(avg(amount), 2) AS mean_order
FROM orders
GROUP BY day
ORDER BY day
